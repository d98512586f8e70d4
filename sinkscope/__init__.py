"""sinkscope: what is extreme inside a language model, why, and what it costs.

The public names load on first use, so that importing the package, or asking the command line for help, loads no torch.
"""

import sys

# `python -m sinkscope` looks for every module in the working folder first, and would run a `numpy.py` that lies there,
# in a model's repository that was downloaded a moment ago, say. The command `sinkscope` does not look there.
_options = sys.orig_argv[: sys.orig_argv.index("sinkscope")] if "sinkscope" in sys.orig_argv else [""]
if sys.argv[:1] == ["-m"] and _options[-1].endswith("m") and not sys.flags.safe_path:
    del sys.path[0]

import importlib  # noqa: E402
import logging  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from sinkscope.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from sinkscope.ablation.run import Ablation
    from sinkscope.ablation.settings import AblationSettings
    from sinkscope.ablation.verb import ablate
    from sinkscope.analysis.run import Analysis, analyze
    from sinkscope.capture.scope import Scope
    from sinkscope.capture.settings import Settings
    from sinkscope.comparison.run import Comparison, compare
    from sinkscope.comparison.settings import ComparisonSettings
    from sinkscope.errors import RequestError, SinkscopeError
    from sinkscope.evaluation.run import Evaluation, evaluate
    from sinkscope.evaluation.settings import EvaluationSettings
    from sinkscope.inputs import ModelSource, TextSource
    from sinkscope.loading.load import load
    from sinkscope.monitoring.monitor import Monitor
    from sinkscope.planning.plan import Plan, plan
    from sinkscope.quantization.run import Quantization, quantize
    from sinkscope.quantization.settings import QuantizationSettings
    from sinkscope.runs import Run, read_run
    from sinkscope.tracking.run import Track, track

# transformers imports torchao wherever it is installed, and torchao warns of kernels for hardware that is not there.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)

_HOMES = {
    "Ablation": "ablation.run",
    "AblationSettings": "ablation.settings",
    "Analysis": "analysis.run",
    "Comparison": "comparison.run",
    "ComparisonSettings": "comparison.settings",
    "Evaluation": "evaluation.run",
    "EvaluationSettings": "evaluation.settings",
    "ModelSource": "inputs",
    "Monitor": "monitoring.monitor",
    "Plan": "planning.plan",
    "Quantization": "quantization.run",
    "QuantizationSettings": "quantization.settings",
    "RequestError": "errors",
    "Run": "runs",
    "Scope": "capture.scope",
    "Settings": "capture.settings",
    "SinkscopeError": "errors",
    "TextSource": "inputs",
    "Track": "tracking.run",
    "ablate": "ablation.verb",
    "analyze": "analysis.run",
    "compare": "comparison.run",
    "evaluate": "evaluation.run",
    "load": "loading.load",
    "plan": "planning.plan",
    "quantize": "quantization.run",
    "read_run": "runs",
    "track": "tracking.run",
}

__all__ = [
    "Ablation",
    "AblationSettings",
    "Analysis",
    "Comparison",
    "ComparisonSettings",
    "Evaluation",
    "EvaluationSettings",
    "ModelSource",
    "Monitor",
    "Plan",
    "Quantization",
    "QuantizationSettings",
    "RequestError",
    "Run",
    "Scope",
    "Settings",
    "SinkscopeError",
    "TextSource",
    "Track",
    "__version__",
    "ablate",
    "analyze",
    "compare",
    "evaluate",
    "load",
    "plan",
    "quantize",
    "read_run",
    "track",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sinkscope' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sinkscope.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
