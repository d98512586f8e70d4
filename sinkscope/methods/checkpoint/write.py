"""Writes a model under a probe as a folder that vLLM and transformers load.

    w_hat = s * code        both as the probe has them; s is kept in the dtype of the model

The library packs the codes into the tensors of its format, and describes them in config.json under
`quantization_config`; modules that the probe leaves alone are on its `ignore` list. A scale in bfloat16 is off by up to
2^-9 of itself, in float32 by nothing. A calibrated probe's largest inputs become `input_scale`.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.loading.compressed import without_bars
from sinkscope.loading.quiet import quiet
from sinkscope.methods.checkpoint.schemes import arguments, refuse_model
from sinkscope.methods.formats.rounding import in_blocks, rounded, scale_of
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.probes import CalibratedProbe

_FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # what vLLM makes one module of


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        format: the library's name of it.
        split: a module that vLLM reads together with others that are stored otherwise; empty where there is none.
    """

    format: str
    split: str


@torch.no_grad()
def write_checkpoint(
    model: PreTrainedModel, calibrated: CalibratedProbe, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> Written:
    """Fills a folder with safetensors, config.json, the tokenizer and what generates by default.

    Args:
        model: in full precision; it stays as it is.
        calibrated: a probe on modules of this very model.
        tokenizer: of the model.
        folder: there, and empty.

    Raises:
        RequestError: for a probe, or a model, that cannot be saved.
    """
    from compressed_tensors.compressors import ModelCompressor, compress_module
    from compressed_tensors.config import CompressionFormat
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, QuantizationStatus

    weights, inputs = arguments(calibrated.probe)
    refuse_model(calibrated.probe, model)
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(**weights),
        input_activations=None if inputs is None else QuantizationArgs(**inputs),
    )
    model = copy.deepcopy(model)
    with quiet(), without_bars(wanted=True):
        for place in calibrated.places:
            module = cast("nn.Linear", model.get_submodule(place.name))
            dtype = module.weight.dtype
            for name, value in _stored(module.weight, calibrated, calibrated.calibration.get(place.name)).items():
                _set(module, name, value)
            module.quantization_scheme, module.quantization_status = scheme, QuantizationStatus.FROZEN
            compress_module(module)
            for name in ("weight_scale", "input_scale"):
                scale = getattr(module, name, None)
                if scale is not None and scale.is_floating_point():
                    _set(module, name, scale.to(dtype))
        compressor = ModelCompressor.from_pretrained_model(model)
        model.save_pretrained(folder)
        compressor.update_config(str(folder))
        tokenizer.save_pretrained(folder)
    return Written(str(CompressionFormat(compressor.quantization_config.format).value), _split(model, calibrated))


def _stored(weight: Tensor, calibrated: CalibratedProbe, absmax: float | None) -> dict[str, Tensor]:
    """A module's weight, rounded, with its scales, in float32, by the names that the library has for them."""
    side = cast("Side", calibrated.probe.weights)
    exact = weight.detach().float()
    stored = {"weight": rounded(exact, side)}
    scale = scale_of(in_blocks(exact, side), side, None)
    stored["weight_scale"] = _shaped(torch.where(scale == 0, 1.0, scale), side)  # of zeros alone, whose codes are 0
    inputs = calibrated.probe.inputs
    if inputs is not None and inputs.calibrated:
        largest = torch.tensor([absmax], dtype=torch.float32, device=weight.device)
        stored["input_scale"] = torch.where(largest == 0, 1.0, largest / inputs.element.largest)
    return stored


def _shaped(scale: Tensor, side: Side) -> Tensor:
    """Scales as the library shapes them: [N, D / G] of groups, [N, 1] of channels, [1] of a tensor."""
    if side.block is not None:
        return scale.squeeze(-1)
    return scale.reshape(1) if side.scope is Scope.TENSOR else scale


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    module.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _split(model: PreTrainedModel, calibrated: CalibratedProbe) -> str:
    """A module that is rounded where one that vLLM fuses it with is not; empty where there is none."""
    rounded_names = {place.name for place in calibrated.places}
    known: dict[str, Any] = dict(model.named_modules())
    for place in calibrated.places:
        around, _, own = place.name.rpartition(".")
        for together in _FUSED:
            others = [f"{around}.{name}" for name in together if own in together]
            if any(other in known and other not in rounded_names for other in others):
                return place.name
    return ""
