"""What analyze does by itself where a model would not fit: it says so, and goes on with a driver that does."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from reference.models import tokens

import sinkscope
from sinkscope.analysis import run as api
from sinkscope.analysis.journal import Journal
from sinkscope.capture.settings import Settings
from sinkscope.names import DRIVERS
from sinkscope.planning import automatic
from sinkscope.planning.machine import Machine, this_machine
from sinkscope.tables.run_folder import Run


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The machine's free memory, to be set by a test."""
    free = [2**34]

    def machine(folder: Path | None) -> Machine:
        return replace(this_machine(folder), memory=free[0], gpus=())

    monkeypatch.setattr(automatic, "this_machine", machine)
    return free


@pytest.mark.parametrize("driver", [*DRIVERS, None])
def test_the_driver_follows_the_memory(
    driver: str | None, memory: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shape = {"num_hidden_layers": 24, "hidden_size": 64, "intermediate_size": 512, "max_position_embeddings": 512}
    model, ids = tiny.build("llama_gqa", **shape), tokens(1, 400)
    folder = tiny.save(model, tmp_path)
    needs = automatic.choose_driver(model.config, tokens=400, sequences=1).bytes
    assert needs["resident"] > needs["layer by layer"] > needs["streamed"]
    memory[0] = int(1.02 * needs[driver] / 0.9) if driver else needs["streamed"] // 2
    with caplog.at_level(logging.WARNING):
        run = sinkscope.analyze(folder, input_ids=ids, settings=Settings(backward=True)).run
    assert run.info["driver"] == (driver or "streamed")
    assert bool(caplog.records) == (driver != "resident")
    assert ("nothing fits" in caplog.text) == (driver is None)


def test_the_choice_can_be_overruled(memory: list[int], tmp_path: Path) -> None:
    memory[0] = 1
    folder = tiny.save(tiny.build("llama_gqa"), tmp_path)
    assert sinkscope.analyze(folder, input_ids=tokens(1, 30), stream=False).run.info["driver"] == "resident"


def test_what_resumes_takes_the_driver_of_what_was_interrupted(
    memory: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out, ids = tiny.save(tiny.build("llama_gqa"), tmp_path / "model"), tmp_path / "run", tokens(1, 30)

    def interrupted(*_: object, journal: Journal, **__: object) -> Run:
        journal.begin()
        raise KeyboardInterrupt

    memory[0] = 1
    with monkeypatch.context() as patched:
        patched.setattr(api, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sinkscope.analyze(folder, input_ids=ids, out=out)
    memory[0] = 2**34
    assert sinkscope.analyze(folder, input_ids=ids, out=out, resume=True).run.info["driver"] == "streamed"
