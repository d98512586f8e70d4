"""The verbs. To add one: a module with a function, and its name in the list."""

from collections.abc import Callable
from typing import Any

from sinkscope.cli.verbs.analyze import analyze
from sinkscope.cli.verbs.pretrain import pretrain
from sinkscope.cli.verbs.quantize import quantize

VERBS: tuple[Callable[..., Any], ...] = (analyze, pretrain, quantize)
