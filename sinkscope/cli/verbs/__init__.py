"""The verbs. To add one: a module with a function, and its name in the list."""

from collections.abc import Callable
from typing import Any

from sinkscope.cli.verbs.analyze import analyze
from sinkscope.cli.verbs.evaluate import evaluate
from sinkscope.cli.verbs.pretrain import pretrain

VERBS: tuple[Callable[..., Any], ...] = (analyze, evaluate, pretrain)
