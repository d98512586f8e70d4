"""Checkpoints are in the order of their steps, beyond a million of them too."""

from pathlib import Path

from sinkscope.training.checkpoint import _STATE, checkpoints


def test_a_millionth_step_comes_behind_the_ones_before(tmp_path: Path) -> None:
    for step in (1_000_000, 999_000, 999_500, 500):
        folder = tmp_path / f"step-{step:06d}"
        folder.mkdir()
        (folder / _STATE).touch()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000500", "step-999000", "step-999500",
                                                             "step-1000000"]  # fmt: skip
