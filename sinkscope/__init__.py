"""sinkscope: what is extreme inside a language model, why, and what it costs.

The public names load on first use, so that importing the package, or asking the command line for help, loads no torch.
"""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sinkscope.api import Analysis, analyze
    from sinkscope.capture.scope import Scope
    from sinkscope.errors import SinkscopeError
    from sinkscope.evaluation.run import Evaluation, evaluate
    from sinkscope.evaluation.settings import EvaluationSettings
    from sinkscope.models.load import load
    from sinkscope.monitoring.monitor import Monitor
    from sinkscope.quant.run import quantize
    from sinkscope.settings import Settings
    from sinkscope.tables.store import Run, read_run

# transformers imports torchao wherever it is installed, and torchao warns of kernels for hardware that is not there.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "Evaluation",
    "EvaluationSettings",
    "Monitor",
    "Run",
    "Scope",
    "Settings",
    "SinkscopeError",
    "analyze",
    "evaluate",
    "load",
    "quantize",
    "read_run",
]

_HOMES = {
    "Analysis": "sinkscope.api",
    "Evaluation": "sinkscope.evaluation.run",
    "EvaluationSettings": "sinkscope.evaluation.settings",
    "Monitor": "sinkscope.monitoring.monitor",
    "Run": "sinkscope.tables.store",
    "Scope": "sinkscope.capture.scope",
    "Settings": "sinkscope.settings",
    "SinkscopeError": "sinkscope.errors",
    "analyze": "sinkscope.api",
    "evaluate": "sinkscope.evaluation.run",
    "load": "sinkscope.models.load",
    "quantize": "sinkscope.quant.run",
    "read_run": "sinkscope.tables.store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sinkscope' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
