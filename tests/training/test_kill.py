"""Killed at any moment, also while a checkpoint is written, a run resumes to the bit-identical result."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sinkscope.training.checkpoint import checkpoints

KILLS = 10
# Checkpoints at every other step: half of the kills strike while one is being written.
STEPS, EVERY = 1500, 2
TINY = ["--steps", str(STEPS), "--set", f"checkpoint.every={EVERY}", "--set", "checkpoint.keep=2"]


def command(recipe: Path, out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "sinkscope", "pretrain", str(recipe), *TINY, "--out", str(out), *arguments]


def killed_after(started: list[str], out: Path, seconds: float) -> bool:
    """Starts a run, kills it some time after its training began, and says whether it was still at work."""
    before = [path.name for path in checkpoints(out / "checkpoints")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(started, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        for line in run.stderr or []:
            if b"training on" in line:
                break
        else:
            pytest.fail("the run ended before it trained")
        time.sleep(seconds)
        alive = run.poll() is None
        run.send_signal(signal.SIGKILL)
    now = [path.name for path in checkpoints(out / "checkpoints")]
    assert not before or now, "a checkpoint was lost"
    return alive


@pytest.mark.slow
def test_ten_kills_change_nothing(recipe_file: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(recipe_file, whole), check=True, capture_output=True)
    chance = random.Random(0)
    moments = [chance.uniform(0.0, 0.8) for _ in range(KILLS)]
    struck = 0
    for moment in moments:
        struck += killed_after(command(recipe_file, cut, "--resume"), cut, moment)
    assert struck == KILLS
    reached = checkpoints(cut / "checkpoints")
    assert reached
    subprocess.run(command(recipe_file, cut, "--resume"), check=True, capture_output=True)
    expected, found = (load_file(out / "model" / "model.safetensors") for out in (whole, cut))
    assert expected.keys() == found.keys()
    assert all(bool((expected[name] == found[name]).all()) for name in expected)
    assert (whole / "metrics.parquet").read_bytes() == (cut / "metrics.parquet").read_bytes()
