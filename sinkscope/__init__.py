"""sinkscope: what is extreme inside a language model, why, and what it costs.

The public names load on first use, so that importing the package, or asking the command line for help, loads no torch.
"""

import logging
from typing import TYPE_CHECKING, Any

from sinkscope.version import __version__

if TYPE_CHECKING:
    from sinkscope.analysis.run import Analysis, analyze
    from sinkscope.capture.scope import Scope
    from sinkscope.capture.settings import Settings
    from sinkscope.errors import SinkscopeError
    from sinkscope.evaluation.run import Evaluation, evaluate
    from sinkscope.evaluation.settings import EvaluationSettings
    from sinkscope.loading.load import load
    from sinkscope.monitoring.monitor import Monitor
    from sinkscope.quantization.run import quantize
    from sinkscope.tables.run_folder import Run, read_run

# transformers imports torchao wherever it is installed, and torchao warns of kernels for hardware that is not there.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)


__all__ = [
    "Analysis",
    "Evaluation",
    "EvaluationSettings",
    "Monitor",
    "Run",
    "Scope",
    "Settings",
    "SinkscopeError",
    "__version__",
    "analyze",
    "evaluate",
    "load",
    "quantize",
    "read_run",
]

_HOMES = {
    "Analysis": "sinkscope.analysis.run",
    "Evaluation": "sinkscope.evaluation.run",
    "EvaluationSettings": "sinkscope.evaluation.settings",
    "Monitor": "sinkscope.monitoring.monitor",
    "Run": "sinkscope.tables.run_folder",
    "Scope": "sinkscope.capture.scope",
    "Settings": "sinkscope.capture.settings",
    "SinkscopeError": "sinkscope.errors",
    "analyze": "sinkscope.analysis.run",
    "evaluate": "sinkscope.evaluation.run",
    "load": "sinkscope.loading.load",
    "quantize": "sinkscope.quantization.run",
    "read_run": "sinkscope.tables.run_folder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sinkscope' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
