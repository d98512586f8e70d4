"""Every verb that runs a model says its plan in one line on stderr before its first pass, and that line alone."""

import re
from pathlib import Path

import pytest
import tiny

from sinkscope.cli import main
from sinkscope.tables.run_folder import read_run

SMALL = ["--sequences", "2", "--tokens", "32", "--device", "cpu"]
MEASURE = ["--positions", "16", "--early", "7"]
TIME = r"about [0-9.]+ (s|min)( \([0-9.]+ (s|min) of it to draw\))?"
MEMORY = r"[0-9.,]+ [KMG]iB of [0-9.,]+ [KMG]iB free memory"

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def llama(tiny_folders: dict[str, Path]) -> str:
    return str(tiny_folders["llama_gqa"])


def plans(arguments: list[str], capfd: pytest.CaptureFixture[str], code: int = 0) -> list[str]:
    """The plans that a command says; everything else on stderr is its own."""
    assert main(arguments) == code
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("plan")]
    assert len(lines) <= 1
    return lines


def test_analyze(llama: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for driver in ("resident", "layer by layer", "streamed"):
        more = {"resident": [], "layer by layer": ["--gradient-checkpointing"], "streamed": ["--stream"]}[driver]
        (line,) = plans(["analyze", llama, "--out", str(tmp_path / driver), *SMALL, *MEASURE, *more], capfd)
        assert re.fullmatch(f"plan: {driver}, {MEMORY}; 2 sequences of 32 tokens: {TIME}", line)
        plan = read_run(tmp_path / driver).info["plan"]
        assert plan["budget"] is None
        assert plan["chosen"] == {}
        assert plan["memory_bytes"] > 0


def test_rounding_holds_no_less_memory(llama: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A probe rounds weights and holds them as they were; bitsandbytes holds fewer bytes."""
    needed = {}
    for method in ("", "w4", "nf4"):
        asked = ["--quantize", method] if method else []
        folders = [tmp_path / f"analysis-{method}", tmp_path / f"evaluation-{method}"]
        plans(["analyze", llama, "--out", str(folders[0]), *SMALL, *MEASURE, *asked], capfd)
        plans(["evaluate", llama, "--out", str(folders[1]), *asked, "--variants", "none", "--window", "32",
               "--documents", "1", "--characters", "300"], capfd)  # fmt: skip
        needed[method] = [read_run(folder).info["plan"]["memory_bytes"] for folder in folders]
    assert needed["w4"] == needed[""]
    assert needed["nf4"] != needed[""]


def test_quantize(llama: str, tiny_folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    methods = ["--methods", "none,w8a8-static,int8", "--rank-limit", "2"]
    two = ["quantize", llama, str(tiny_folders["qwen3_mha"]), *methods, "--out", str(tmp_path / "run"), *SMALL]
    (line,) = plans(two, capfd)
    what = "2 models, 3 methods on 2 sequences of 32 tokens, int8 taken to be as fast as no method"
    assert re.fullmatch(f"plan: {MEMORY}; {what}: {TIME}", line)
    stages = read_run(tmp_path / "run").info["plan"]["stages"]
    assert all(stages[name] > 0 for name in ("exact losses", "probes", "noise", "ranking", "methods of libraries"))


def test_quantize_within_a_budget(llama: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["quantize", llama, "--methods", "none,w8", "--device", "cpu", "--out", str(tmp_path / "run")]
    (line,) = plans([*arguments, "--budget", "1h"], capfd)
    assert "32 sequences of 64 tokens" in line
    assert line.endswith("; chosen for --budget 1h")
    info = read_run(tmp_path / "run").info
    assert info["plan"]["chosen"] == {"sequences": 32, "tokens": 64}
    assert (info["data"]["sequences"], info["data"]["tokens"]) == (32, 64)
    assert main([*arguments, "--force", "--budget", "0.001"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("sinkscope: --budget 0.001 is too short: 1 sequence of 64 tokens would take about ")
    assert error.endswith(
        ": give it more, or ask for fewer --tokens or --methods, or leave the ranking out with --rank-sequences 0\n"
    )
    assert error.count("\n") == 1


def test_evaluate(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    needles = ["--variants", "single_2", "--lengths", "200", "--depths", "1"]
    arguments = ["evaluate", "demo", "--device", "cpu", *needles, "--out", str(tmp_path / "run")]
    (line,) = plans([*arguments, "--documents", "2", "--seeds", "1"], capfd)
    assert re.fullmatch(f"plan: {MEMORY}; 2 documents and needles of 1 seed: {TIME}", line)
    (line,) = plans([*arguments, "--documents", "1", "--budget", "1h", "--force"], capfd)
    assert "1 document and needles of 5 seeds" in line
    assert line.endswith("; chosen for --budget 1h")
    info = read_run(tmp_path / "run").info
    assert info["plan"]["chosen"] == {"seeds": 5}
    assert (info["settings"]["documents"], info["settings"]["seeds"]) == (1, 5)
    assert main([*arguments, "--force", "--budget", "0.001"]) == 2
    error = capfd.readouterr().err
    assert "is too short: 1 document and needles of 1 seed would take about" in error
    assert error.endswith(
        ": give it more, or cut documents at fewer --characters, or ask for shorter --lengths or fewer --variants\n"
    )


def test_track(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for step in range(3):
        tiny.save(tiny.build("llama_gqa", seed=step), tmp_path / "few" / f"checkpoint-{step}")
    arguments = ["track", str(tmp_path / "few"), "--out", str(tmp_path / "run"), "--device", "cpu", *MEASURE]
    (line,) = plans([*arguments, "--tokens", "32", "--budget", "1h"], capfd)
    assert re.fullmatch(
        f"plan: resident, {MEMORY}; 3 checkpoints, 32 sequences of 32 tokens: {TIME}; chosen for --budget 1h", line
    )
    assert read_run(tmp_path / "run").info["plan"]["chosen"] == {"sequences": 32}


def test_compare(llama: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = str(tiny.save(tiny.build("llama_gqa", seed=1), tmp_path / "other"))
    small = ["--sequences", "2", "--tokens", "64", "--device", "cpu", "--out", str(tmp_path / "comparison")]
    (line,) = plans(["compare", llama, other, *small], capfd, code=0)
    assert re.fullmatch(f"plan: resident, {MEMORY}; 2 models, 2 sequences of 64 tokens: {TIME}", line)


def test_pretrain(recipe_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (line,) = plans(["pretrain", str(recipe_file), "--out", str(tmp_path / "out"), "--steps", "3"], capfd)
    assert re.fullmatch(rf"plan: one process on cpu, {MEMORY}; 3 steps of \d+ x \d+ tokens: {TIME}", line)


def test_finetune(llama: str, text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = ["--steps", "2", "--tokens", "32", "--batch-sequences", "2", "--valid-sequences", "1", "--device", "cpu"]
    out = ["--data", str(text), "--out", str(tmp_path / "out")]
    (line,) = plans(["finetune", llama, "--vscale", *small, *out, "--no-report"], capfd)
    assert re.fullmatch(f"plan: one process on cpu, {MEMORY}; 2 trainings of 2 steps of 2 x 32 tokens: {TIME}", line)


@pytest.mark.parametrize(
    ("verb", "why"),
    [
        (["finetune", "demo"], "finetune takes no --budget: a training is as long as its --steps"),
        (["pretrain", "demo"], "pretrain takes no --budget: a training is as long as its --steps"),
        (["compare", "demo", "demo-vscale"], "compare takes no --budget: models are measured like the first run"),
        (["plan", "demo"], "plan takes no --budget: it measures nothing"),
    ],
)
def test_verbs_without_a_budget_say_why(verb: list[str], why: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--budget", "5m"]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"sinkscope: {why}")
    assert error.count("\n") == 1
