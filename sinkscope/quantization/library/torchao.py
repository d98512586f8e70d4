"""torchao: int8 weights with dynamic int8 activations, and int8 weights alone, put on a loaded model in place.

torchao replaces parameters, not modules, so V-scale stays where it is. Its scale is largest |w| / 127.5 with codes down
to -128, where the probes use largest / 127 and stop at -127.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from sinkscope.loading.load import load_model
from sinkscope.quantization.library.method import LoadRequest, Method
from sinkscope.quantization.linear_modules import linears


def int8(request: LoadRequest) -> PreTrainedModel:
    """Weights per channel, activations per token, both in 8 bits."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    return _quantized(request, Int8DynamicActivationInt8WeightConfig())


def int8_weights(request: LoadRequest) -> PreTrainedModel:
    """Weights per channel in 8 bits."""
    from torchao.quantization import Int8WeightOnlyConfig

    return _quantized(request, Int8WeightOnlyConfig())


def _quantized(request: LoadRequest, config: Any) -> PreTrainedModel:
    from torchao.quantization import quantize_

    model = load_model(request.model, **request.loading).model
    chosen = {place.module for place in linears(model)}

    def selected(module: nn.Module, _: str) -> bool:
        return module in chosen

    quantize_(model, config, filter_fn=selected)
    return model


METHODS = (
    Method("torchao-int8", 8, 8, "W per channel, A per token", int8, "torchao", "torchao"),
    Method("torchao-int8-weights", 8, None, "W per channel", int8_weights, "torchao", "torchao"),
)
