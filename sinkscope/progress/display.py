"""The display of a process: the stages of what it runs, shown while they last.

    with shown(progress):
        stage("loading")
        for batch in counted(batches, "sequence"):
            ...

Whoever starts work opens the display; whoever does a part of it names the part, and where nothing is shown that costs
nothing. There is one display at a time: a verb that another one calls shows its stages in the display that is open.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sinkscope.launch.environment import is_main_process
from sinkscope.progress.stages import Stages
from sinkscope.progress.surfaces import Heartbeat, Line, Surface, is_interactive
from sinkscope.terminal import complain, readable

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Display:
    """What is shown of one piece of work.

    Args:
        words: what is made of a text before it is said, as options for fields.

    Attributes:
        stages: those that are open.
        has_plan: whether the one line with the plan was said.
    """

    def __init__(self, words: Callable[[str], str] | None = None) -> None:
        self.stages = Stages()
        self.words = words or (lambda text: text)
        self.has_plan = False
        self._surface: Surface | None = (Line if is_interactive() else Heartbeat)(self.stages, sys.stderr)

    def say(self, text: str) -> None:
        """Leaves a line on stderr."""
        if self._surface is not None:
            self._surface.say(readable(self.words(text)))
        else:
            complain(self.words(text))

    def close(self) -> None:
        """Shows no stage any more."""
        if self._surface is not None:
            self._surface.close()
            self._surface = None


_current: Display | None = None


@contextmanager
def shown(progress: bool | None = None, words: Callable[[str], str] | None = None) -> Iterator[None]:
    """While entered, the stages of this process are shown on stderr.

    Args:
        progress: whether; None shows them on terminals and in notebooks, and keeps logs of scripts free of them.
            Without effect inside another `shown`.
        words: what is made of a text before it is said.
    """
    global _current
    wanted = is_interactive() if progress is None else progress
    if _current is not None or not wanted or not is_main_process():
        yield
        return
    _current = Display(words)
    try:
        yield
    finally:
        _current.close()
        _current = None


def showing(verb: F) -> F:
    """Decorates a function with a keyword `progress`: its stages are shown as `shown` has it."""

    @functools.wraps(verb)
    def decorated(*arguments: Any, **keywords: Any) -> Any:
        with shown(keywords.get("progress")):
            return verb(*arguments, **keywords)

    return decorated  # type: ignore[return-value]


def stage(name: str) -> None:
    """Says what is done from now on, until the next stage."""
    if _current is not None:
        _current.stages.begin(name)


def counted(items: Sequence[T], name: str, done: int = 0) -> Iterator[T]:
    """The items after the first `done`, each a step of a stage: `sequence 3 of 8`."""
    if _current is None:
        yield from items[done:]
        return
    stages = _current.stages
    opened = stages.begin(name, len(items), done)
    try:
        for item in items[done:]:
            yield item
            opened.done += 1
    finally:
        stages.end(opened)


def is_shown() -> bool:
    """Whether stages are shown."""
    return _current is not None


def wants_plan() -> bool:
    """Whether a plan would be shown: stages are, and there was none yet."""
    return _current is not None and not _current.has_plan


def say_plan(text: str, expected: Mapping[str, float]) -> None:
    """Says the plan, once, and takes its times.

    Args:
        text: one line.
        expected: seconds by name of stage.
    """
    if _current is not None and not _current.has_plan:
        _current.has_plan = True
        _current.stages.expect(expected)
        _current.say(text)


def say(text: str) -> None:
    """Leaves a line on stderr, whether stages are shown or not."""
    if _current is not None:
        _current.say(text)
    else:
        complain(text)


def ended() -> None:
    """Shows no stage any more: what comes now are results."""
    if _current is not None:
        _current.close()
