"""A streamed analysis that is killed at any layer goes on from there, to the tables of an undisturbed one."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tiny
from forks import Server

from sinkscope.tables.run_folder import read_run

Attempt = Callable[..., int | None]


@pytest.fixture
def attempt(forks: Server, tmp_path: Path) -> Attempt:
    """Analyzes a model of five layers layer by layer, perhaps up to a call that kills it.

    Returns the number of layer calls, None where it was killed.
    """
    model = tiny.save(tiny.build("llama_gqa", num_hidden_layers=5), tmp_path / "model")

    def run(
        out: Path, *, at: int = 0, resume: bool = False, backward: bool = True, spill: Path | str = ""
    ) -> int | None:
        started = forks.start("victims:strikes_in_a_layer", str(model), str(out), at, resume, backward, str(spill))
        code = started.wait()
        assert code in (0, -signal.SIGKILL), started.err
        return None if code else int(started.out)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("backward", [True, False], ids=["backward", "forward"])
@pytest.mark.parametrize("spilled", [True, False])
def test_kills_at_random_layers_change_nothing(spilled: bool, backward: bool, attempt: Attempt, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    how = {"backward": backward, "spill": tmp_path / "spill" if spilled else ""}
    full = attempt(whole, **how)
    assert full is not None
    chance, killed, resumed = random.Random(3 + spilled), 0, None
    for _ in range(4):
        resumed = attempt(cut, at=chance.randint(2, 25), resume=True, **how)
        if resumed is not None:  # less was left to do than the chosen number of calls
            break
        killed += 1
    assert killed
    if resumed is None:
        resumed = attempt(cut, resume=True, **how)
    one, other = read_run(whole), read_run(cut)
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other[name], check_exact=True)
    assert not (tmp_path / ".cut.analysis").exists()
    assert not spilled or not list((tmp_path / "spill").iterdir())
    assert resumed is not None
    assert resumed < full  # it did go on, and not start again


def test_what_was_spilled_is_not_computed_again(attempt: Attempt, tmp_path: Path) -> None:
    forward, spill = 5 * 3, tmp_path / "spill"
    assert attempt(tmp_path / "run", at=forward, spill=spill) is None  # in the last layer of the forward sweep
    steps = attempt(tmp_path / "run", resume=True, spill=spill)
    assert steps is not None
    backward = [number for number in range(steps) if number >= 3]  # the last layer's three windows, then the way back
    assert len(backward) >= forward
    assert steps < 2 * forward + 3 * 5
