"""The plan that a verb says before its first pass: the driver, the memory, the time, and what would make it short.

    plan: resident, 1.2 GiB of 9.3 GiB free memory; 8 sequences of 512 tokens: about 3 min (20 s of it to draw)

The times come from passes that were measured on the loaded model; nothing here measures. The same object goes into
run.json, so that a run says what was expected of it and, where a budget was set, what was chosen to fit it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sinkscope.durations import duration_text
from sinkscope.inputs import Windows
from sinkscope.planning.choose import size

LONG = 300.0  # seconds; from here on the plan says what would be shorter
DRAWING = "drawing page"


@dataclass(frozen=True)
class Forecast:
    """What is expected of the work ahead.

    Attributes:
        work: what is done, in words, as `8 sequences of 512 tokens`.
        expected: seconds by stage, in order; `DRAWING` is the report's.
        trial: seconds that were spent to find out.
        rate: tokens per second of the passes that were measured.
        driver: how the passes are made; None where there is one way only.
        memory: bytes needed, and bytes free before the model was loaded; None where that is not known.
        budget: the time to fit, as it was asked for.
        chosen: what was chosen to fit it, by field.
        shorter: what would make it short: values by field, and the seconds that it would take.
    """

    work: str
    expected: Mapping[str, float]
    trial: float
    rate: float
    driver: str | None = None
    memory: tuple[int, int] | None = None
    budget: str | None = None
    chosen: Mapping[str, int] = field(default_factory=dict)
    shorter: tuple[Mapping[str, int], float] | None = None

    @property
    def seconds(self) -> float:
        """All that is expected."""
        return sum(self.expected.values())

    def line(self) -> str:
        """The plan in one line, with fields in backticks."""
        how = [self.driver] if self.driver is not None else []
        if self.memory is not None:
            how.append(f"{size(self.memory[0])} of {size(self.memory[1])} free memory")
        drawing = self.expected.get(DRAWING, 0.0)
        time = f"{self.work}: about {duration_text(self.seconds)}"
        if drawing >= 1 and drawing > 0.05 * self.seconds:
            time += f" ({duration_text(drawing)} of it to draw)"
        parts = [", ".join(how), time]
        if self.budget is not None:
            parts.append(f"chosen for `budget={self.budget}`" if self.chosen else f"within `budget={self.budget}`")
        if self.shorter is not None and self.seconds > LONG:
            fields, seconds = self.shorter
            parts.append(" ".join(f"`{name}={value}`" for name, value in fields.items()) + f": {_about(seconds)}")
        return "plan: " + "; ".join(part for part in parts if part)

    def choice(self, windows: Windows) -> dict[str, Any] | None:
        """What unfinished work keeps of a budget, so that whoever resumes it reads the same windows."""
        if self.budget is None:
            return None
        return {"budget": self.budget, "sequences": windows.count, "tokens": windows.tokens}

    def as_json(self) -> dict[str, Any]:
        """The plan as run.json has it."""
        return {
            "seconds": self.seconds,
            "stages": dict(self.expected),
            "trial_seconds": self.trial,
            "tokens_per_second": self.rate,
            "memory_bytes": self.memory[0] if self.memory is not None else None,
            "free_bytes": self.memory[1] if self.memory is not None else None,
            "budget": self.budget,
            "chosen": dict(self.chosen),
        }


def _about(seconds: float) -> str:
    return f"about {duration_text(seconds)}"
