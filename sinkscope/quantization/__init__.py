"""What quantization costs: INT8 probes of our own, and the methods of others, on the same windows of text.

with probed(model, parse_probe("w8a8-static"), calibration):
    loss = ...      # of the quantized model
loss = ...          # of the model as it was, bit for bit
"""

from sinkscope.quantization.calibration import calibrate
from sinkscope.quantization.probes import Probe, parse_probe, probed

__all__ = ["Probe", "calibrate", "parse_probe", "probed"]
