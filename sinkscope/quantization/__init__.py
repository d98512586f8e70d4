"""What quantization costs: INT8 probes of our own, and the methods of others, on the same windows of text.

with probed(model, parse_probe("w8a8-static"), calibration):
    loss = ...      # of the quantized model
loss = ...          # of the model as it was, bit for bit

The public names load on first use, so that the settings can be read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sinkscope.methods.calibration import calibrate
    from sinkscope.methods.probes import Probe, parse_probe, probed

__all__ = ["Probe", "calibrate", "parse_probe", "probed"]

_HOMES = {"Probe": "probes", "calibrate": "calibration", "parse_probe": "probes", "probed": "probes"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"sinkscope.methods.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
