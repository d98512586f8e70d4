"""V-scale, a gradient valve on attention values: `attach_` it to a model, `detach_` it, `save` it."""

from sinkscope.vscale.attach import attach_, attached, detach_, paper_scale, set_ramp_
from sinkscope.vscale.calibrate import calibrated_scale
from sinkscope.vscale.module import VARIANTS, VScale
from sinkscope.vscale.saved import save

__all__ = [
    "VARIANTS",
    "VScale",
    "attach_",
    "attached",
    "calibrated_scale",
    "detach_",
    "paper_scale",
    "save",
    "set_ramp_",
]
