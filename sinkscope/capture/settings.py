"""What to measure: the options of an analysis, with the literature's values as defaults."""

from dataclasses import dataclass

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described


@dataclass(frozen=True)
class Settings:
    """Options of an analysis.

    Attributes:
        sink_epsilon: a head is a sink where alpha exceeds this (0.3: Gu et al., ICLR 2025).
        sink_window: T_eps, the number of queries that alpha_s averages over, the token itself included.
        early: T_e, the last position of the gradient-sink window, equation (6), which the column statistics cover too.
            Not the positions 1..15 that equation (3) compares token 0 with: `sinkscope.quantities.measured.NEIGHBOURS`.
        positions: how many early positions get rows in the tables and whole gradient vectors; fewer than the 16 that
            equation (3) reads are taken as 16.
        columns: `early` takes M, S and the value bounds at positions 0..early and at the sinks found; `all` everywhere.
        backward: whether gradients are measured.
    """

    sink_epsilon: float = described(0.3, "A head is a sink where alpha exceeds this.", Section.MEASUREMENT)
    sink_window: int = described(64, "Queries that alpha averages over, itself included.", Section.MEASUREMENT)
    early: int = described(31, "Last position of the early window of the gradient-sink ratio.", Section.MEASUREMENT)
    positions: int = described(128, "Early positions that get rows in the tables, 16 at least.", Section.MEASUREMENT)
    columns: str = described(
        "early", "Attention columns that get mass and bounds.", Section.MEASUREMENT, values="early|all"
    )
    backward: bool = described(True, "Measure no gradients.", Section.MEASUREMENT, only_off=True, before="sink_epsilon")

    def __post_init__(self) -> None:
        checks = {
            "`sink_epsilon` must lie between 0 and 1": 0 < self.sink_epsilon < 1,
            "`sink_window` must be at least 1": self.sink_window >= 1,
            "`early` must be at least 1": self.early >= 1,
            "`positions` must be larger than `early`": self.positions > self.early,
            "`columns` is early or all": self.columns in ("early", "all"),
        }
        for complaint, holds in checks.items():
            if not holds:
                raise RequestError(complaint)
