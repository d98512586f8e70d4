"""Every bad input ends as one line on stderr and exit code 1 or 2, and leaves no run folder behind."""

import json
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
import torch
from forks import Server, wait_until
from safetensors.torch import load_file, save_file
from transformers import BertConfig

from sinkscope.cli import main
from sinkscope.files.listed import write_list
from sinkscope.launch.interrupts import insistent_interrupts
from sinkscope.models.families import FAMILIES

SMALL = ["--sequences", "2", "--tokens", "32", "--positions", "32", "--early", "15", "--device", "cpu"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a run would go: in a folder of its own, so that leftovers beside it show."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs" / "run"


@pytest.fixture
def llama(tiny_folders: dict[str, Path]) -> Path:
    return tiny_folders["llama_gqa"]


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], out: Path) -> Callable[..., str]:
    """Runs `analyze` with a bad input, checks the form of its refusal, and returns the line."""

    def run(model: Path | str, *arguments: str, code: int = 1) -> str:
        before = sorted(out.parent.rglob("*"))
        assert main(["analyze", str(model), "--out", str(out), *SMALL, *arguments]) == code
        printed = capfd.readouterr()
        assert printed.out == ""
        said = re.sub(r"\Aplan: .*\n", "", printed.err)  # what fails on the way does so after the plan
        assert said.startswith("sinkscope: ")
        assert said.count("\n") == 1
        assert sorted(out.parent.rglob("*")) == before
        return said

    return run


def test_missing_model(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "there is no folder" in refused("no/such-model")
    assert "there is no folder" in refused(tmp_path / "nothing")


def test_folder_without_config_or_weights(refused: Callable[..., str], broken: Callable[..., Path]) -> None:
    folder = broken()
    (folder / "model.safetensors").rename(folder / "elsewhere")
    assert "holds no weights" in refused(folder)
    (folder / "config.json").unlink()
    assert "no config.json" in refused(folder)


def test_truncated_weights(refused: Callable[..., str], broken: Callable[..., Path]) -> None:
    weights = broken() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "not a whole safetensors file" in refused(weights.parent)


def test_pickled_weights(refused: Callable[..., str], broken: Callable[..., Path]) -> None:
    folder = broken()
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "pickle" in refused(folder)


def test_encoder_and_unknown_architecture(refused: Callable[..., str], tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    assert "not a causal language model" in refused(tmp_path, code=2)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    assert f"known: {', '.join(sorted(FAMILIES))}" in refused(tmp_path, code=2)


@pytest.mark.parametrize(
    ("weight", "site"), [("model.layers.1.mlp.down_proj.weight", "r_mlp"), ("model.embed_tokens.weight", "h_in")]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(
    weight: str, site: str, value: float, refused: Callable[..., str], broken: Callable[..., Path]
) -> None:
    folder = broken()
    weights = load_file(folder / "model.safetensors")
    weights[weight][:] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = refused(folder)
    assert site in message
    assert f"layer {1 if 'layers.1' in weight else 0}" in message


def test_more_tokens_than_the_model_knows(refused: Callable[..., str], llama: Path) -> None:
    assert f"context of {tiny.CONTEXT}" in refused(llama, "--tokens", str(tiny.CONTEXT + 1), code=2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--sequences", "0"),
        ("--sequences", "-3"),
        ("--sequences", "many"),
        ("--batch-size", "0"),
        ("--tokens", "1"),
        ("--bos", "perhaps"),
        ("--sink-epsilon", "1.5"),
        ("--sink-window", "0"),
        ("--columns", "none"),
        ("--positions", "3"),
        ("--dtype", "int4"),
        ("--device", "toaster"),
        ("--device-map", "auto"),
        ("--quantize", "int3"),
        ("--revision", "main"),
        ("--data-config", "en"),
        ("--early", "0"),
    ],
)
def test_impossible_values(option: str, value: str, refused: Callable[..., str], llama: Path) -> None:
    # --device-map contradicts the --device that every call here has, --positions falls short of --early, a folder has
    # no revisions, and the standard library has no configurations.
    said = "at least 2 tokens" if option == "--tokens" else option
    assert said in refused(llama, option, value, code=2)


def test_data_that_does_not_suffice(refused: Callable[..., str], llama: Path, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("too short")
    assert "too few" in refused(llama, "--data", str(text))
    assert "there is no file" in refused(llama, "--data", str(tmp_path / "none.txt"))


def test_unknown_verb_and_option(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["unheard-of"], ["analyze", "--unheard-of"], ["pretrain"], ["--unheard-of"]):
        assert main(arguments) == 2
        printed = capfd.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1


def test_output_that_exists(refused: Callable[..., str], llama: Path, out: Path) -> None:
    out.mkdir()
    (out / "precious").write_text("data")
    assert "--force" in refused(llama, code=2)
    assert "holds no run.json" in refused(llama, "--force", code=2)
    (out / "precious").unlink()
    out.rmdir()
    out.write_text("a file")
    assert "not a folder" in refused(llama, "--force", code=2)


@pytest.mark.parametrize("parent", ["file", "proc"])
def test_output_that_cannot_be_written(
    parent: str, llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = (tmp_path / "file" if parent == "file" else Path("/proc")) / "run"
    assert main(["analyze", str(llama), "--out", str(folder)]) == 1
    printed = capfd.readouterr()
    assert printed.err.startswith(f"sinkscope: cannot write {folder}: ")
    assert printed.err.count("\n") == 1


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets no file grow beyond 8 KiB while tables are written: the operating system refuses, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    write = pd.DataFrame.to_parquet

    def limited(*arguments: Any, **options: Any) -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
        try:
            return write(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(pd.DataFrame, "to_parquet", limited)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_full_disk(refused: Callable[..., str], llama: Path, out: Path) -> None:
    assert f"cannot write {out}: " in refused(llama)


def test_full_disk_while_replacing_keeps_the_old_run(
    refused: Callable[..., str], llama: Path, out: Path, request: pytest.FixtureRequest
) -> None:
    out.mkdir()
    (out / "run.json").write_text('{"old": true}')
    write_list(out)
    request.getfixturevalue("full_disk")
    refused(llama, "--force")
    assert (out / "run.json").read_text() == '{"old": true}'


def test_interrupted_while_writing(refused: Callable[..., str], llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_parquet", interrupt)
    assert "interrupted" in refused(llama)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["reading", "measuring"])
def test_interrupted_by_ctrl_c(when: str, forks: Server, llama: Path, out: Path, tmp_path: Path) -> None:
    """The other process tells how far it is, so that the test knows when to interrupt it."""
    text, note = tmp_path / "text.txt", tmp_path / "note"
    text.write_bytes(b"A sentence. " * 100_000)
    arguments = [str(llama), "--out", str(out), "--data", str(text), *SMALL, "--sequences", "30000"]
    target = "tells_that_it_reads" if when == "reading" else "tells_what_it_measured"
    process = forks.start(f"victims:{target}", arguments, str(note))
    process.wait_until(note.exists, when)
    process.signal(signal.SIGINT)
    assert process.wait() == 1
    assert process.out == ""
    stderr = process.err
    left = {path.name for path in out.parent.iterdir()}
    if when == "reading":
        assert (stderr, left) == ("sinkscope: interrupted\n", set())
    else:  # the micro-batch at work is finished, and what was measured is kept beside the place of the run
        assert stderr.endswith("sinkscope: interrupted: the same command with --resume goes on from here\n")
        assert left == {f".{out.name}.analysis"}


class Interrupted:
    """Its finalizer is where an interrupt strikes."""

    def __del__(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Under a shell that ignores SIGINT for background jobs, interrupting the main thread would do nothing."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_inside_a_finalizer_is_not_lost() -> None:
    def lose_it_and_go_on() -> None:
        victim = Interrupted()
        del victim
        wait_until(lambda: False, lambda: "the interrupt")

    with insistent_interrupts(), pytest.raises(KeyboardInterrupt):
        lose_it_and_go_on()


@pytest.mark.usefixtures("interruptible")
def test_interrupt_whose_moment_comes_too_late_strikes_nobody_else() -> None:
    with insistent_interrupts():
        victim = Interrupted()
        del victim
    time.sleep(0.1)  # ten times the moment; an interrupt would end this test
