"""`sinkscope analyze` does what its options say and writes a whole run folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

from sinkscope.cli import main
from sinkscope.tables.run_folder import read_run

SMALL = ["--sequences", "3", "--tokens", "32", "--positions", "32", "--early", "15", "--device", "cpu"]

Analyze = Callable[..., dict[str, Any]]


@pytest.fixture
def analyze(tiny_folders: dict[str, Path], tmp_path: Path) -> Analyze:
    """Runs the verb on a tiny model and returns run.json."""

    def run(*arguments: str) -> dict[str, Any]:
        out = tmp_path / "run"
        assert main(["analyze", str(tiny_folders["llama_gqa"]), "--out", str(out), *SMALL, *arguments]) == 0
        return read_run(out).info

    return run


@pytest.mark.slow
def test_writes_a_whole_run(analyze: Analyze, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    info = analyze()
    out = tmp_path / "run"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {f"{table}.parquet" for table in info["tables"]} <= {path.name for path in out.iterdir()}
    assert (out / "report.pdf").stat().st_size > 0
    assert list((out / "figures").glob("*.png"))
    printed = capfd.readouterr()
    assert str(out) in printed.out.splitlines()[-1]
    assert printed.err.startswith("plan: ")
    assert printed.err.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_json_is_all_that_stdout_holds(analyze: Analyze, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    analyze("--json")
    printed = capfd.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "run" / "run.json").read_text())
    assert printed.err.startswith("plan: ")
    assert printed.err.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_force_replaces_a_run(analyze: Analyze, tmp_path: Path) -> None:
    first = analyze()
    second = analyze("--force", "--sequences", "2")
    assert (first["data"]["sequences"], second["data"]["sequences"]) == (3, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.usefixtures("undrawn")
def test_default_folder_is_named_for_the_model(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["analyze", str(tiny_folders["qwen3_mha"]), *SMALL]) == 0
    assert (tmp_path / "runs" / "qwen3_mha" / "run.json").is_file()
    assert str(Path("runs") / "qwen3_mha") in capfd.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_settings_reach_the_run(analyze: Analyze) -> None:
    measure = ["--sink-epsilon", "0.2", "--sink-window", "8", "--columns", "all", "--no-backward", "--batch-size", "2"]
    settings = analyze(*measure)["settings"]
    expected = {
        "sink_epsilon": 0.2,
        "sink_window": 8,
        "columns": "all",
        "backward": False,
        "batch_size": 2,
        "positions": 32,
        "early": 15,
    }
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.usefixtures("undrawn")
def test_model_options_reach_the_run(analyze: Analyze) -> None:
    model = analyze("--dtype", "bfloat16", "--quantize", "nf4")["model"]
    assert model["quantization"] == "nf4"
    assert model["dtype"] == "bfloat16"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("bos", "forced"), [("auto", True), ("always", True), ("never", False)])
def test_bos(bos: str, forced: bool, analyze: Analyze) -> None:
    info = analyze("--bos", bos, "--sink-epsilon", "0.01")
    assert info["data"]["bos"] is forced
    first = {row["position"]: row for row in info["sink_tokens"]}[0]
    assert (first["token"] == tiny.BOS) is forced


@pytest.mark.usefixtures("undrawn")
def test_data_options_reach_the_run(analyze: Analyze, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [json.dumps({"body": f"document {number} with some words"}) for number in range(12)]
    (data / "a.jsonl").write_text("\n".join(rows))
    arguments = ["--data", str(data), "--data-column", "body", "--isolate-documents"]
    described = analyze(*arguments)["data"]
    assert described["source"] == str(data)
    assert described["isolated_documents"] is True
    assert (described["sequences"], described["tokens"]) == (3, 32)
    assert analyze(*arguments[:-1], "--force")["data"]["sha256"] == described["sha256"]
