"""A comparison that was killed goes on with what it had, and ends in the same bits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny

from sinkscope.cli import main
from sinkscope.errors import RequestError
from sinkscope.files.sealed import DamagedError, read_sealed, write_sealed
from sinkscope.quantization import mitigated, unquantized
from sinkscope.quantization.run import Quantization, quantize
from sinkscope.quantization.state import KIND
from sinkscope.unfinished import folder_of

METHODS = ["w4", "a4-static", "cache-k4v4-g8"]
OPTIONS: dict[str, Any] = {
    "methods": METHODS, "mitigate": ["smooth", "keep-2"], "sequences": 3, "tokens": 24, "device": "cpu",
    "rank_sequences": 1, "rank_limit": 4,
}  # fmt: skip
CHANGING = ("created", "seconds", "peak_memory_bytes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.build("llama_gqa"), tmp_path_factory.mktemp("random") / "model")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Quantization:
    return quantize(folder, **OPTIONS)


def _count(monkeypatch: pytest.MonkeyPatch, kill: Callable[[int], bool] = lambda _: False) -> list[str]:
    """Counts the losses that are measured, by their words, and interrupts before those that `kill` says."""
    calls: list[str] = []
    losses = unquantized.losses

    def counted(model: Any, batches: Any, text: str = "") -> pd.DataFrame:
        if kill(len(calls)):
            raise KeyboardInterrupt
        calls.append(text)
        return losses(model, batches, text)

    for module in (unquantized, mitigated):
        monkeypatch.setattr(module, "losses", counted)
    return calls


def _alike(one: Quantization, other: Quantization) -> None:
    assert list(one.tables) == list(other.tables)
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(other.tables[name], table, check_exact=True)
    for key in one.info:
        assert key in CHANGING or one.info[key] == other.info[key], key


def test_what_was_killed_between_any_two_rows_ends_in_the_same_bits(
    folder: Path, whole: Quantization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        every = _count(patch)
        quantize(folder, **OPTIONS)
    done: list[str] = []
    for _ in every:  # one row at a time, each in a run of its own that is killed before the next
        with monkeypatch.context() as patch:
            calls = _count(patch, lambda count: count == 1)
            with pytest.raises(KeyboardInterrupt):
                quantize(folder, out=out, resume=True, **OPTIONS)
        done += calls
        if len(done) == len(every) - 1:
            break
    assert done == every[:-1]
    with monkeypatch.context() as patch:
        calls = _count(patch)
        resumed = quantize(folder, out=out, resume=True, **OPTIONS)
    assert calls == every[-1:]
    _alike(whole, resumed)
    monkeypatch.setattr("sinkscope.report.render.render", lambda *_: None)
    resumed.save(out)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.fixture
def killed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a run that was killed after two rows."""
    with monkeypatch.context() as patch:
        _count(patch, lambda count: count == 2)
        with pytest.raises(KeyboardInterrupt):
            quantize(folder, out=tmp_path / "out", **OPTIONS)
    return tmp_path / "out"


def test_only_the_same_request_goes_on(folder: Path, killed: Path) -> None:
    with pytest.raises(RequestError, match=f"an unfinished {KIND}"):
        quantize(folder, out=killed, **OPTIONS)
    with pytest.raises(RequestError, match=r"another settings\.seed"):
        quantize(folder, out=killed, resume=True, **OPTIONS, seed=1)
    with pytest.raises(RequestError, match=r"another windows\.sequences"):
        quantize(folder, out=killed, resume=True, **{**OPTIONS, "sequences": 2})
    tiny.save(tiny.build("llama_gqa", seed=1), folder.parent / "other")
    (folder / "model.safetensors").rename(folder.parent / "kept")
    try:
        (folder / "model.safetensors").write_bytes((folder.parent / "other" / "model.safetensors").read_bytes())
        with pytest.raises(RequestError, match=r"another model\.(sha256|weights_sha256)"):
            quantize(folder, out=killed, resume=True, **OPTIONS)
    finally:
        (folder.parent / "kept").replace(folder / "model.safetensors")


def test_a_damaged_piece_is_not_gone_on_with(folder: Path, killed: Path, whole: Quantization) -> None:
    pieces = sorted(folder_of(killed, KIND).glob("model-0-*.json"))
    row = next(piece for piece in pieces if json.loads(piece.read_text())["key"] == ["none"])
    sound = row.read_text()
    row.write_text(sound.replace("23", "22", 1))
    with pytest.raises(DamagedError, match=f"{row.name} is damaged"):
        quantize(folder, out=killed, resume=True, **OPTIONS)
    content = read_sealed(next(piece for piece in pieces if piece != row))
    assert content is not None
    write_sealed(row, content)  # another piece, whole in itself
    with pytest.raises(RequestError, match="another piece"):
        quantize(folder, out=killed, resume=True, **OPTIONS)
    row.write_text(sound)
    _alike(whole, quantize(folder, out=killed, resume=True, **OPTIONS))


def test_an_interrupt_says_how_to_go_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _count(monkeypatch, lambda count: count == 1)
    small = ["--sequences", "2", "--tokens", "16", "--device", "cpu", "--rank-sequences", "0", "--methods", "w4"]
    assert main(["quantize", str(folder), *small, "--out", str(tmp_path / "out")]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == "sinkscope: interrupted: the same command with --resume goes on from here"
