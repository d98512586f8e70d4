"""Which modules are quantized: the linear layers inside the decoder layers, or those that a pattern selects.

The output head is not among them, nor is anything outside the decoder layers. A module's site is its path inside its
layer, as `mlp.down_proj`.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel

from sinkscope.compat.linear_layers import Conv1D
from sinkscope.errors import RequestError, SinkscopeError, UnsuitedError
from sinkscope.models.families import family_of


class Place(NamedTuple):
    """A linear module and where it is: its name in the model, decoder layer, path inside the layer, and kind."""

    name: str
    layer: int
    site: str
    module: nn.Linear
    down: bool  # whether it is an MLP's down projection


def linears(model: PreTrainedModel, pattern: str | None = None) -> list[Place]:
    """The linear modules that a probe quantizes, first layer to last.

    Args:
        model: a causal LM of a known family with full-precision weights.
        pattern: shell patterns separated by commas, as `*.mlp.*,*.o_proj`; a module is selected where one matches its
            name in the model or its path inside its layer. None selects all.

    Raises:
        SinkscopeError: if the pattern selects none, the weights are quantized, offloaded or fused over experts.
    """
    family = family_of(model)
    method = quantization_of(model)
    if method is not None:
        raise UnsuitedError(f"the model is quantized already ({method}): the probes need full-precision weights")
    places = []
    for number, layer in enumerate(family.decoder_layers(model)):
        for site, module in layer.named_modules():
            _check(module, site)
            if type(module) is nn.Linear:
                places.append(Place(f"{family.layers}.{number}.{site}", number, site, module, site == family.down))
    if pattern is None:
        return places
    patterns = [part.strip() for part in pattern.split(",") if part.strip()]
    selected = [p for p in places if any(fnmatchcase(p.name, q) or fnmatchcase(p.site, q) for q in patterns)]
    if not selected:
        some = ", ".join([places[0].name, *dict.fromkeys(p.site for p in places)])
        raise RequestError(f"the pattern {pattern} matches no linear module; there are, among others: {some}")
    return selected


def quantization_of(model: PreTrainedModel) -> str | None:
    """The method by which a model is quantized, as its configuration names it; None in full precision."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    method = config.get("quant_method") if isinstance(config, dict) else config.quant_method
    return str(getattr(method, "value", method))


def down_pattern(model: PreTrainedModel) -> str:
    """The pattern that selects the MLPs' down projections."""
    family = family_of(model)
    if family.down is None:
        raise UnsuitedError(f"a '{family.model_type}' has no down projection that is a module of its own")
    return family.down


def _check(module: nn.Module, site: str) -> None:
    if isinstance(module, Conv1D):
        raise UnsuitedError(f"{site} is a Conv1D, which keeps its weight the other way round: the probes need plain "
                            "linear modules")  # fmt: skip
    if isinstance(module, nn.Linear) and type(module) is not nn.Linear:
        raise UnsuitedError(f"{site} is a {type(module).__name__}, no plain linear module: the probes need those")
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.dim() > 2:
            raise UnsuitedError(f"{site}.{name} fuses several matrices, which the probes cannot quantize: use a "
                                "library method")  # fmt: skip
        if parameter.is_meta:
            raise SinkscopeError(f"{site}.{name} is offloaded, and the probes need the model in memory: leave out "
                                 "`device_map`, or use a smaller `dtype`")  # fmt: skip
