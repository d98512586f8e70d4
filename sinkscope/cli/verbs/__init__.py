"""The verbs. To add one: a module with a function, and its name in the list."""

from collections.abc import Callable
from typing import Any

from sinkscope.cli.verbs.ablate import ablate
from sinkscope.cli.verbs.analyze import analyze
from sinkscope.cli.verbs.compare import compare
from sinkscope.cli.verbs.evaluate import evaluate
from sinkscope.cli.verbs.families import families
from sinkscope.cli.verbs.finetune import finetune
from sinkscope.cli.verbs.plan import plan
from sinkscope.cli.verbs.pretrain import pretrain
from sinkscope.cli.verbs.quantize import quantize
from sinkscope.cli.verbs.report import report
from sinkscope.cli.verbs.reproduce import reproduce
from sinkscope.cli.verbs.track import track

VERBS: tuple[Callable[..., Any], ...] = (
    ablate,
    analyze,
    compare,
    evaluate,
    families,
    finetune,
    plan,
    pretrain,
    quantize,
    report,
    reproduce,
    track,
)

# Those that several launched processes work on together.
SHARED = ("analyze", "finetune", "pretrain", "reproduce")
