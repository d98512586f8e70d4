"""Made-up tracks: synthetic analyses distilled as measured ones are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from synthetic import Shape, synthetic

from sinkscope.tables.columns import frame
from sinkscope.tables.run_folder import Run
from sinkscope.tracking.appearances import appearances
from sinkscope.tracking.distill import distilled

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000)

_STAGES = ((False, False), (True, False), (True, True))


def synthetic_track(shape: Shape, steps: Sequence[int] = STEPS, **info: Any) -> Run:
    """A track in which sinks appear at the fourth checkpoint and massive activations at the sixth."""
    stages = [synthetic(replace(shape, sinks=sinks, massive=massive)) for sinks, massive in _STAGES]
    kept = [{name: frame(name, columns) for name, columns in distilled(run, 0).items()} for run in stages]
    rows: dict[str, list[pd.DataFrame]] = {}
    for number, step in enumerate(steps):
        for name, table in kept[(number >= 3) + (number >= 5)].items():
            rows.setdefault(name, []).append(table.assign(step=step))
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in rows.items()}
    tables["appearances"] = appearances(tables["track"], 0.3)
    listed = [
        {"step": step, "name": f"checkpoint-{step}", "revision": None, "weights_sha256": "0" * 64, "seconds": 1.0}
        for step in steps
    ]
    last = stages[-1].info
    described = {**last, "kind": "track", "checkpoints": listed, "failed": []}
    described["model"] = {**last["model"], "weights_sha256": None}
    return Run({**described, **info}, tables)
