"""`dtype=auto` widens 16-bit weights where the processor is slow in 16 bit, and says so."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

import sinkscope
from sinkscope.inputs import ModelSource
from sinkscope.loading.resolve import resolve
from sinkscope.planning import cpu_dtype
from sinkscope.planning.cpu_dtype import slowness, widened
from sinkscope.planning.machine import this_machine

SIZES = {"tokens": 64, "sequences": 2, "batch_size": 1}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    tiny.save(tiny.build("llama_gqa").to(torch.bfloat16), tmp_path / "model")
    return str(tmp_path / "model")


def slow(monkeypatch: pytest.MonkeyPatch, times: float = 3.0) -> None:
    monkeypatch.setattr(cpu_dtype, "slowness", lambda _dtype: times)


def test_a_slow_processor_takes_float32(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch)
    found = widened(ModelSource(folder), resolve(folder), this_machine(), held_as=None, **SIZES)
    assert found is not None
    assert found.source.dtype == "float32"
    assert found.why == (
        "float32 and not the checkpoint's bfloat16, in which a matrix product takes 3.0 times as long here"
    )


@pytest.mark.parametrize(
    ("fields", "held_as", "times"),
    [
        ({}, None, 1.9),
        ({"dtype": "bfloat16"}, None, 3.0),
        ({"device_map": "auto"}, None, 3.0),
        ({"device": "meta"}, None, 3.0),
        ({"quantize": "nf4"}, "nf4", 3.0),
    ],
)
def test_what_keeps_the_checkpoints(
    fields: dict[str, str], held_as: str | None, times: float, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, times)
    source = ModelSource(folder, **fields)  # type: ignore[arg-type]
    assert widened(source, resolve(folder), this_machine(), held_as=held_as, **SIZES) is None


def test_memory_must_have_room(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch)
    small = replace(this_machine(), memory=2**20)
    assert widened(ModelSource(folder), resolve(folder), small, held_as=None, **SIZES) is None


def test_float32_is_never_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_dtype, "slowness", lambda _dtype: pytest.fail("measured"))
    tiny.save(tiny.build("llama_gqa"), tmp_path / "model")
    name = str(tmp_path / "model")
    assert widened(ModelSource(name), resolve(name), this_machine(), held_as=None, **SIZES) is None


def test_a_dtype_is_tried_once() -> None:
    slowness.cache_clear()
    first = slowness("bfloat16")
    assert first > 0
    assert slowness("bfloat16") == first
    assert slowness.cache_info().misses == 1


def test_an_analysis_says_what_was_chosen(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow(monkeypatch)
    run = sinkscope.analyze(folder, sequences=1, tokens=32, device="cpu").run
    assert run.info["model"]["dtype"] == "float32"
    assert run.info["model"]["dtype_chosen"].startswith("float32 and not the checkpoint's bfloat16")
    said = capsys.readouterr().err
    assert "dtype: float32 and not the checkpoint's bfloat16" in said
    assert "`dtype=bfloat16` keeps it" in said
    slow(monkeypatch, 1.0)
    run = sinkscope.analyze(folder, sequences=1, tokens=32, device="cpu").run
    assert run.info["model"]["dtype"] == "bfloat16"
    assert "dtype_chosen" not in run.info["model"]


def test_unfinished_work_keeps_its_dtype(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that comes out otherwise the second time would make it another request."""
    for times, begun, taken in ((1.0, "float32", "float32"), (9.0, "bfloat16", None)):
        slow(monkeypatch, times)
        found = widened(ModelSource(folder), resolve(folder), this_machine(), held_as=None, begun=begun, **SIZES)
        assert (None if found is None else found.source.dtype) == taken
