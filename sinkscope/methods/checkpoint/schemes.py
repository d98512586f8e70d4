"""Which probes compressed-tensors has a scheme for, and what the scheme says.

A checkpoint holds codes and scales of weights, scales of inputs that are calibrated, and one description of both. A
probe can be saved where such a description means what the probe measured, and where the installed library has a scheme
of that kind (its presets). What is left out, and why:

- inputs alone: there is no weight to store;
- asymmetric weights: transformers does not read the zero points that the library packs;
- E5M2 and E3M2: the library knows E4M3, E2M3 and E2M1 alone;
- static inputs beside inputs by token in the down projections: the description is one for all modules;
- inputs of fewer than 8 bits: see below, the difference is no longer small;
- inputs in blocks with E8M0 scales: the library rounds their largest value before it takes the exponent, OCP does not;
- NVFP4: vLLM reads one float32 scale for q, k and v together, and the probe has one of each.

Inputs that are scaled as they come are scaled by whoever runs the checkpoint. For integers that is largest |x| / 127.5
with codes down to -128, where the probe has largest / 127 and stops at -127. What vLLM has a kernel for, and on which
device, is its own affair.
"""

from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import E4M3, Element, Integer, Scales
from sinkscope.methods.grammar import Rounding
from sinkscope.vscale.attach import attached

CAN = (
    "w4g128, w8 and other weights in 2 to 8 bits, w8a8-dynamic, w8a8-static, w4g128-a8-dynamic, w4g128-a-fp8, fp8, "
    "fp8-tensor-static, w-fp8, w-mxfp4, w-mxfp6, w-mxfp8"
)
"""Probes that can be saved, by example."""
NO_VSCALE = "`save` writes what vLLM and transformers read, and V-scale is no part of that: leave out `save`"
_FLOATS = {"e4m3": 8, "e2m3": 6, "e2m1": 4}
_STATIC = "compressed-tensors keeps static scales of inputs for w8a8 and fp8 alone"


def obstacle_of(rounding: Rounding) -> str:
    """Why a probe cannot be saved; empty where it can."""
    try:
        preset = _preset(rounding)
    except _NoSchemeError as error:
        return str(error)
    from compressed_tensors.quantization import is_preset_scheme

    return "" if is_preset_scheme(preset) else f"the installed compressed-tensors has no scheme {preset}"


def check_library() -> None:
    """Refuses to save where the library is missing.

    Raises:
        SinkscopeError: with what installs it.
    """
    if find_spec("compressed_tensors") is None:
        raise SinkscopeError(
            "`save` needs compressed-tensors, which is not installed: pip install 'sinkscope[llmcompressor]'"
        )


def refuse_model(rounding: Rounding, model: PreTrainedModel) -> None:
    """Refuses a model of which a probe cannot be saved.

    Raises:
        RequestError: for V-scale, or MX weights in another dtype than bfloat16.
    """
    if attached(model):
        raise RequestError(NO_VSCALE)
    power = rounding.weights is not None and rounding.weights.scales is Scales.POWER
    if power and model.dtype is not torch.bfloat16:
        raise RequestError(
            f"{rounding.name} can be saved in bfloat16 alone, as transformers unpacks its weights to that: add "
            "`dtype=bfloat16`, or name another row"
        )


def arguments(rounding: Rounding) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What the library is told of weights and of inputs, as keywords of its `QuantizationArgs`.

    Raises:
        RequestError: for a probe that cannot be saved.
    """
    why = obstacle_of(rounding)
    if why or rounding.weights is None:
        raise RequestError(f"{rounding.name} cannot be saved: {why}")
    inputs = None if rounding.inputs is None else _inputs(rounding.inputs)
    return _weights(rounding.weights), inputs


class _NoSchemeError(Exception):
    """Why there is no scheme, in words."""


def _weights(side: Side) -> dict[str, Any]:
    said: dict[str, Any] = {
        "num_bits": side.bits,
        "type": "int" if isinstance(side.element, Integer) else "float",
        "symmetric": True,
        "dynamic": False,
    }
    if side.scales is Scales.POWER:
        said["scale_dtype"] = said["zp_dtype"] = torch.uint8
    if side.block is not None:
        return {**said, "strategy": "group", "group_size": side.block}
    return {**said, "strategy": "tensor" if side.scope is Scope.TENSOR else "channel"}


def _inputs(side: Side) -> dict[str, Any]:
    kind = "int" if isinstance(side.element, Integer) else "float"
    strategy = {"strategy": "tensor", "dynamic": False} if side.calibrated else {"strategy": "token", "dynamic": True}
    return {"num_bits": side.bits, "type": kind, "symmetric": True, **strategy}


def _preset(rounding: Rounding) -> str:
    """The library's preset of the same kind; it says which kinds there are, and ours which groups."""
    weights, inputs = rounding.weights, rounding.inputs
    if weights is None:
        raise _NoSchemeError("it rounds inputs alone, and there is no weight to store")
    if rounding.mixed:
        raise _NoSchemeError("a checkpoint is written with one scheme for all modules, and its down projections differ")
    for side in filter(None, (weights, inputs)):
        if isinstance(side.element, Element) and side.element.name not in _FLOATS:
            raise _NoSchemeError(f"compressed-tensors has no {side.element.name.upper()}")
        if side.scales is Scales.E4M3:
            raise _NoSchemeError("vLLM reads one float32 scale of NVFP4 for q, k and v together, the probe has three")
    if inputs is not None and inputs.scales is Scales.POWER:
        raise _NoSchemeError(
            f"compressed-tensors scales blocks of inputs by another rule; w-{_mx(weights) or 'mxfp4'} saves weights"
        )
    if inputs is not None and inputs.bits < 8:
        raise _NoSchemeError("compressed-tensors scales inputs of few bits otherwise than the probe does")
    if isinstance(weights.element, Integer):
        return _integer_preset(weights, weights.element, inputs)
    if inputs is not None and inputs.element is not E4M3:
        raise _NoSchemeError(f"compressed-tensors has no {weights.element.name.upper()} weights with integer inputs")
    if weights.scales is Scales.POWER:
        if inputs is not None:
            raise _NoSchemeError(f"compressed-tensors has no {_mx(weights)} weights with fp8 inputs by token or tensor")
        return f"MXFP{weights.bits}A16"
    return "FP8" if inputs is None or inputs.calibrated else "FP8_DYNAMIC"


def _integer_preset(weights: Side, element: Integer, inputs: Side | None) -> str:
    bits = element.bits
    if element.asymmetric:
        raise _NoSchemeError("transformers does not read the packed zero points of asymmetric weights")
    if inputs is None:
        return f"W{bits}A16"
    if isinstance(inputs.element, Element):
        if inputs.calibrated:
            raise _NoSchemeError(_STATIC)
        return f"W{bits}AFP8"
    if (bits, inputs.bits) == (8, 8):
        if weights.block is not None:
            raise _NoSchemeError("compressed-tensors has 8-bit weights by channel beside 8-bit inputs")
        return "W8A8"
    if inputs.calibrated:
        raise _NoSchemeError(_STATIC)
    return f"W{bits}A{inputs.bits}"


def _mx(side: Side) -> str:
    return f"mxfp{side.bits}" if side.scales is Scales.POWER else ""
