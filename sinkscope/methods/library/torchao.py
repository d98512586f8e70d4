"""torchao: int8 weights with dynamic int8 activations, and int8 weights alone, put on a loaded model in place.

torchao replaces parameters, not modules, so V-scale stays where it is. Its scale is largest |w| / 127.5 with codes down
to -128, where the probes use largest / 127 and stop at -127.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from sinkscope.loading.load import Loaded, load_model
from sinkscope.methods.library.method import LoadRequest, Method
from sinkscope.methods.linear_modules import linears


def int8_(model: PreTrainedModel) -> None:
    """Weights per channel, activations per token, both in 8 bits."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    _quantize_(model, Int8DynamicActivationInt8WeightConfig())


def int8_weights_(model: PreTrainedModel) -> None:
    """Weights per channel in 8 bits."""
    from torchao.quantization import Int8WeightOnlyConfig

    _quantize_(model, Int8WeightOnlyConfig())


def _quantize_(model: PreTrainedModel, config: Any) -> None:
    from torchao.quantization import quantize_

    chosen = {place.module for place in linears(model)}

    def selected(module: nn.Module, _: str) -> bool:
        return module in chosen

    quantize_(model, config, filter_fn=selected)


def _loaded(request: LoadRequest, put_: Callable[[PreTrainedModel], None]) -> Loaded:
    loaded = load_model(request.model, **request.loading)
    put_(loaded.model)
    return loaded


def _method(
    name: str, bits: tuple[int, int | None], granularity: str, put_: Callable[[PreTrainedModel], None], **more: Any
) -> Method:
    load = partial(_loaded, put_=put_)
    return Method(name, *bits, granularity, load, "torchao", "torchao", put_=put_, held_as="int8", **more)


METHODS = (
    _method("torchao-int8", (8, 8), "W per channel, A per token", int8_,
            no_gradient="its integer products have no derivative"),
    _method("torchao-int8-weights", (8, None), "W per channel", int8_weights_),
)  # fmt: skip
