"""Killed at any moment, also while a checkpoint is written, a run resumes to the bit-identical result."""

import random
import signal
import time
from pathlib import Path

import pytest
from forks import Server
from safetensors.torch import load_file

from sinkscope.training.checkpoint import checkpoints

KILLS = 10
# Checkpoints at every other step: half of the kills strike while one is being written.
STEPS, EVERY = 100, 2
TINY = ["--steps", str(STEPS), "--set", f"checkpoint.every={EVERY}", "--set", "checkpoint.keep=2"]
WRITTEN = 3  # checkpoints that an attempt may write before it is killed
A_WHILE = 0.03  # seconds, in which a checkpoint or two are written


def trained(forks: Server, arguments: list[str]) -> None:
    run = forks.start("victims:pretrains", arguments)
    assert run.wait() == 0, run.err


def killed(forks: Server, arguments: list[str], out: Path, written: int, seconds: float) -> int:
    """Starts a run, kills it some time after it wrote so many checkpoints, and says how it ended."""

    def newest() -> str:
        return max((path.name for path in checkpoints(out / "checkpoints")), default="")

    run = forks.start("victims:pretrains_and_waits", arguments)
    run.wait_until(lambda: "training on" in run.err, "its training")
    for _ in range(written):
        before = newest()
        if before < f"step-{STEPS - EVERY:06d}":
            run.wait_until(lambda before=before: newest() > before, "another checkpoint")
    time.sleep(seconds)  # the moment is arbitrary, and nothing depends on it
    before = newest()
    run.signal(signal.SIGKILL)
    code = run.wait()
    assert newest() >= before, "a checkpoint was lost"
    return code


@pytest.mark.slow
def test_ten_kills_change_nothing(forks: Server, recipe_file: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    trained(forks, [str(recipe_file), *TINY, "--out", str(whole)])
    again = [str(recipe_file), *TINY, "--out", str(cut), "--resume"]
    chance = random.Random(0)
    for _ in range(KILLS):
        code = killed(forks, again, cut, chance.randint(0, WRITTEN), chance.uniform(0, A_WHILE))
        assert code == -signal.SIGKILL
    assert checkpoints(cut / "checkpoints")
    trained(forks, again)
    expected, found = (load_file(out / "model" / "model.safetensors") for out in (whole, cut))
    assert expected.keys() == found.keys()
    assert all(bool((expected[name] == found[name]).all()) for name in expected)
    assert (whole / "metrics.parquet").read_bytes() == (cut / "metrics.parquet").read_bytes()
