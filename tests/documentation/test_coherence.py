"""docs/coherence.py: all sequences together have the measured R_GS, which its prediction meets there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sinkscope

SCRIPT = Path(__file__).parents[2] / "docs" / "coherence.py"
LINE = re.compile(r"(\d+) sequences: measured ([\d.]+), from the coherences ([\d.]+)")


def printed(run: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), str(run)], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("undrawn")
def test_all_sequences_together_are_as_measured_and_as_predicted(tmp_path: Path) -> None:
    analysis = sinkscope.analyze("demo", sequences=4, tokens=64)
    analysis.save(tmp_path / "run")
    done = printed(tmp_path / "run")
    assert done.returncode == 0, done.stderr
    rows = [(int(count), float(measured), float(predicted)) for count, measured, predicted in LINE.findall(done.stdout)]
    assert [count for count, *_ in rows] == [1, 2, 4]
    whole = analysis.headline["gradient_sink_median"]
    assert rows[-1][1:] == pytest.approx((whole, whole), abs=0.005)
    assert rows[0][1] != rows[-1][1]


@pytest.mark.usefixtures("undrawn")
def test_a_run_whose_blocks_hold_several_sequences_is_refused(tmp_path: Path) -> None:
    sinkscope.analyze("demo", sequences=40, tokens=32).save(tmp_path / "run")
    done = printed(tmp_path / "run")
    assert done.returncode == 1
    assert "analyze fewer" in done.stderr
