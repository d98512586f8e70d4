"""When each phenomenon first appeared, in which order, and what the spacing of the checkpoints leaves open.

A phenomenon that is seen at one checkpoint and not at the one before appeared somewhere between the two. Phenomena
whose intervals are the same have no known order, and share a rank. What is present at the first checkpoint was never
seen to appear: it has no rank. A checkpoint that is an earlier one over again, by its hash, saw nothing new, and
narrows no interval.
"""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from sinkscope.quantities.rows import with_threshold
from sinkscope.tables.columns import frame


@dataclass(frozen=True)
class Phenomenon:
    """What may appear.

    Attributes:
        name: in tables and figures.
        metric: a number of the table `track`.
        threshold: from which value it is there.
        exceeds: whether the threshold itself is not enough.
    """

    name: str
    metric: str
    threshold: float
    exceeds: bool = False

    def present(self, values: "pd.Series[float]") -> "pd.Series[bool]":
        """Whether each value shows it; what was not measured does not."""
        return values > self.threshold if self.exceeds else values >= self.threshold


def phenomena(epsilon: float) -> tuple[Phenomenon, ...]:
    """The phenomena of docs/tracking.md: a row per quantity with a threshold.

    Args:
        epsilon: the run's threshold on alpha_0 of equation (1), for a quantity whose threshold is not fixed.
    """
    return tuple(
        Phenomenon(
            threshold.phenomenon,
            row.name,
            epsilon if threshold.value is None else threshold.value,
            threshold.exceeds,
        )
        for row, threshold in with_threshold()
    )


def appearances(track: pd.DataFrame, epsilon: float, copies: Collection[int] = ()) -> pd.DataFrame:
    """The table `appearances`.

    Args:
        track: the table `track`.
        epsilon: threshold on alpha_0.
        copies: steps of checkpoints that are earlier ones over again.
    """
    track = track[~track["step"].isin(list(copies))]
    columns: dict[str, list[object]] = {
        name: [] for name in ("phenomenon", "metric", "threshold", "first_step", "previous_step", "lasting_step")
    }
    for phenomenon in phenomena(epsilon):
        values = track[track["metric"] == phenomenon.metric].set_index("step")["value"].sort_index()
        if values.isna().all():
            continue
        row = (phenomenon.name, phenomenon.metric, phenomenon.threshold, *_steps(phenomenon.present(values)))
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)
    first = pd.Series(columns["first_step"], dtype="Int64")
    seen_to_appear = first.where(pd.Series(columns["previous_step"], dtype="Int64").notna())
    return frame("appearances", {**columns, "rank": seen_to_appear.rank(method="dense").astype("Int64")})


def _steps(seen: "pd.Series[bool]") -> tuple[int | None, int | None, int | None]:
    """First step that shows it, the step before that, and the step from which all show it."""
    steps = [int(step) for step in seen.index]
    present = seen.tolist()
    if not any(present):
        return None, None, None
    first = present.index(True)
    absent = [number for number, there in enumerate(present) if not there]
    lasting = absent[-1] + 1 if absent else 0
    return steps[first], steps[first - 1] if first else None, steps[lasting] if lasting < len(steps) else None
