"""A streamed analysis that is killed at any layer goes on from there, to the tables of an undisturbed one."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tiny

from sinkscope.tables.run_folder import read_run

ROOT = Path(__file__).parents[2]

# One process per attempt, forked behind the imports, until there is a run: its place, the layer call to die at (0:
# none), whether to resume, whether to measure gradients, and a spill folder.
DIES = """
import os, signal, sys
from pathlib import Path
from sinkscope.analysis import run as api
from sinkscope.analysis import journal
from sinkscope.analysis.drivers.layer_steps import LayerSteps
from sinkscope.capture.settings import Settings
from sinkscope.tables.run_folder import write_run

def child(out, at, resume, backward, spill):
    steps = 0
    run = LayerSteps.run
    def dies(*arguments):
        nonlocal steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(*arguments)
    LayerSteps.run = dies
    journal.Journal.__init__.__kwdefaults__["every"] = 0.0
    analysis = api.analyze(
        sys.argv[1], sequences=3, tokens=24, out=out, resume=resume, stream=True, spill=spill,
        settings=Settings(sink_epsilon=0.04, sink_window=8, early=7, positions=16, backward=backward),
    )
    write_run(analysis.run, Path(out))
    analysis.saved()
    print("steps", steps, flush=True)

for attempt in sys.argv[2:]:
    out, at, resume, backward, spill = attempt.split(",")
    if Path(out).exists():
        continue
    number = os.fork()
    if not number:
        child(out, int(at), resume == "resume", backward == "backward", spill or None)
        os._exit(0)
    print("ended", -os.waitpid(number, 0)[1], flush=True)
"""


def attempts(model: Path, *these: tuple[Path, int, str, str, Path | str]) -> list[tuple[str, int]]:
    """Makes the attempts; says for each how many layer calls it made, if it came to its end, and how it ended."""
    command = [sys.executable, "-c", DIES, str(model), *(",".join(map(str, attempt)) for attempt in these)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(what, int(number)) for what, number in lines]


@pytest.mark.slow
@pytest.mark.parametrize("backward", ["backward", "forward"])
@pytest.mark.parametrize("spilled", [True, False])
def test_kills_at_random_layers_change_nothing(spilled: bool, backward: str, tmp_path: Path) -> None:
    model = tiny.save(tiny.build("llama_gqa", num_hidden_layers=5), tmp_path / "model")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    spill = tmp_path / "spill" if spilled else ""
    chance = random.Random(3 + spilled)
    kills = [(cut, chance.randint(2, 25), "resume", backward, spill) for _ in range(4)]
    log = attempts(model, (whole, 0, "", backward, spill), *kills, (cut, 0, "resume", backward, spill))
    assert ("ended", -9) in log
    assert log[-1] == ("ended", 0)
    one, other = read_run(whole), read_run(cut)
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other[name], check_exact=True)
    assert not (tmp_path / ".cut.analysis").exists()
    assert not spilled or not list((tmp_path / "spill").iterdir())
    full, resumed = (number for what, number in log if what == "steps")
    assert resumed < full  # it did go on, and not start again


def test_what_was_spilled_is_not_computed_again(tmp_path: Path) -> None:
    model = tiny.save(tiny.build("llama_gqa", num_hidden_layers=5), tmp_path / "model")
    forward = 5 * 3
    log = attempts(
        model,
        (tmp_path / "run", forward, "", "backward", tmp_path / "spill"),  # in the last layer of the forward sweep
        (tmp_path / "run", 0, "resume", "backward", tmp_path / "spill"),
    )
    kill, (_, steps), end = log
    assert (kill, end) == (("ended", -9), ("ended", 0))
    backward = [number for number in range(steps) if number >= 3]  # the last layer's three windows, then the way back
    assert len(backward) >= forward
    assert steps < 2 * forward + 3 * 5
