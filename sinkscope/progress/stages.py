"""The stages that work goes through, and how much time is left: arithmetic alone, nothing is printed here.

Stages stand inside each other: `checkpoint 3 of 10: sequence 5 of 32`. A counted one knows its items; of another only
the name is known. The time left comes from what the outermost counted stage took so far, items that are half done
counted by the stage inside them; before anything is done, from the plan; and always with what the plan has for stages
that are still to come.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sinkscope.durations import duration_text

_ENOUGH = 0.05  # of an item: what its rate can be read from


@dataclass
class Stage:
    """One stage.

    Attributes:
        name: what is done, as `loading`, or what is counted, as `sequence`.
        began: when, in seconds of the clock.
        total: items in all; None where nothing is counted.
        before: items that an earlier run had done.
        done: items done so far, those included.
    """

    name: str
    began: float
    total: int | None = None
    before: int = 0
    done: int = 0


@dataclass
class Stages:
    """The stages that are open, the outermost first.

    Attributes:
        clock: seconds.
        expected: seconds by name, of the stages that a plan knows.
        planned: when the plan was made.
    """

    clock: Callable[[], float] = time.monotonic
    expected: dict[str, float] = field(default_factory=dict)
    planned: float = 0.0
    _open: list[Stage] = field(default_factory=list)
    _begun: set[str] = field(default_factory=set)

    def expect(self, expected: Mapping[str, float]) -> None:
        """Takes a plan: seconds by name of the stages that are to come."""
        self.expected, self.planned = dict(expected), self.clock()
        self._begun = set()

    def begin(self, name: str, total: int | None = None, done: int = 0) -> Stage:
        """Opens a stage inside the innermost counted one, in the place of what was open there."""
        while self._open and self._open[-1].total is None:
            self._open.pop()
        stage = Stage(name, self.clock(), total, done, done)
        self._open.append(stage)
        self._begun.add(name)
        return stage

    def end(self, stage: Stage) -> None:
        """Closes a stage, and whatever is open inside it."""
        if stage in self._open:
            del self._open[self._open.index(stage) :]

    def line(self) -> str:
        """What is done now, and how long it will take; empty where no stage is open."""
        if not self._open:
            return ""
        text = ": ".join(_in_words(stage) for stage in self._open)
        left = self.left()
        return text if left is None else f"{text}, about {duration_text(left)} left"

    def elapsed(self) -> float:
        """Seconds since the innermost stage began."""
        return self.clock() - self._open[-1].began if self._open else 0.0

    def left(self) -> float | None:
        """Seconds until the end; None where nothing is known."""
        counted = [stage for stage in self._open if stage.total is not None]
        of_stage = self._left_of(counted) if counted else None
        outermost = self._open[0] if self._open else None
        if not self.expected:
            return of_stage
        if outermost is None or outermost.name not in self.expected:
            whole = self.planned + sum(self.expected.values()) - self.clock()
            return max(whole, of_stage or 0.0) if whole > 0 else of_stage
        if of_stage is None:
            of_stage = max(outermost.began + self.expected[outermost.name] - self.clock(), 0.0)
        return of_stage + sum(seconds for name, seconds in self.expected.items() if name not in self._begun)

    def _left_of(self, counted: list[Stage]) -> float | None:
        """Seconds that the outermost counted stage still takes, from what it took so far."""
        outermost = counted[0]
        inside = 0.0
        for stage in reversed(counted[1:]):
            inside = min((stage.done + inside) / max(stage.total or 0, 1), 1.0)
        done = outermost.done - outermost.before + inside
        if done < _ENOUGH:
            return None
        todo = (outermost.total or 0) - outermost.done - inside
        return (self.clock() - outermost.began) / done * max(todo, 0.0)


def _in_words(stage: Stage) -> str:
    if stage.total is None:
        return stage.name
    return f"{stage.name} {min(stage.done + 1, stage.total)} of {stage.total}"
