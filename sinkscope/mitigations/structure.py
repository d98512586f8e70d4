"""The linear maps around each norm of a decoder layer, found by name, and why a model does not have them.

A mitigation that moves scales or rotations from one weight to another is exact only where every map that reads a norm
is known. That is so for layers with the projections q, k, v, o and a gated MLP of gate, up and down, each a plain
linear module behind a norm with a gain. Everything else is refused by name, never guessed.
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.methods.linear_modules import quantization_of
from sinkscope.models.families import family_of
from sinkscope.models.family import Family
from sinkscope.models.shape import shape_of

_ATTENTION, _MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Block:
    """The parts of one decoder layer: norms, and the linear maps that read them or write to the stream."""

    attention_norm: nn.Module
    mlp_norm: nn.Module
    q: nn.Linear
    k: nn.Linear
    v: nn.Linear
    o: nn.Linear
    gate: nn.Linear
    up: nn.Linear
    down: nn.Linear
    head_dim: int

    @property
    def kv_heads(self) -> int:
        """Value heads."""
        return self.v.out_features // self.head_dim

    @property
    def readers(self) -> tuple[tuple[nn.Module, tuple[nn.Linear, ...]], ...]:
        """Each norm with the maps that read it."""
        return (self.attention_norm, (self.q, self.k, self.v)), (self.mlp_norm, (self.gate, self.up))


def blocks_of(model: PreTrainedModel, mitigation: str) -> list[Block]:
    """The parts of every layer, first to last.

    Args:
        model: a causal LM of a known family.
        mitigation: for whom, for the message.

    Raises:
        SinkscopeError: naming what the model has instead.
    """
    family = family_of(model)
    obstacle = obstacle_of(model, family)
    if obstacle:
        raise refusal(family, mitigation, obstacle)
    head_dim = shape_of(family, model.config).head_dim
    return [_block(layer, family, head_dim) for layer in family.decoder_layers(model)]


def refusal(family: Family, mitigation: str, obstacle: str) -> SinkscopeError:
    """The one line that refuses a structure."""
    return SinkscopeError(f"`mitigate={mitigation}` is not exact on a '{family.model_type}': {obstacle}")


def obstacle_of(model: PreTrainedModel, family: Family) -> str:
    """Why the maps around the norms are not known; empty where they are."""
    method = quantization_of(model)
    layers = family.decoder_layers(model)
    cases = (
        (method is not None, f"its weights are quantized already ({method})"),
        (family.parallel, "its branches are parallel"),
        (family.stream_normed, "its norms stand on the residual stream itself"),
        (
            family.attention_norm is None or family.mlp_norm is None,
            "its branches read the stream without a norm before",
        ),
        (family.experts is not None, "its experts read the norm too"),
    )
    for holds, words in cases:
        if holds:
            return words
    return next(filter(None, (_missing(layer, family) for layer in layers)), "")


def _missing(layer: nn.Module, family: Family) -> str:
    for owner, names in ((family.attention, _ATTENTION), (family.mlp, _MLP)):
        module = layer.get_submodule(owner)
        for name in names:
            part = getattr(module, name, None)
            if type(part) is not nn.Linear:
                return f"its {owner} has no plain linear {name}"
            if part.weight.is_meta:
                return f"its {owner}.{name} is offloaded"
    for path in (family.attention_norm, family.mlp_norm):
        if getattr(layer.get_submodule(path or ""), "weight", None) is None:
            return f"its {path} has no gain"
    return ""


def _block(layer: nn.Module, family: Family, head_dim: int) -> Block:
    attention, mlp = layer.get_submodule(family.attention), layer.get_submodule(family.mlp)
    q, k, v, o = (cast("nn.Linear", getattr(attention, name)) for name in _ATTENTION)
    gate, up, down = (cast("nn.Linear", getattr(mlp, name)) for name in _MLP)
    norms = (layer.get_submodule(family.attention_norm or ""), layer.get_submodule(family.mlp_norm or ""))
    return Block(*norms, q, k, v, o, gate, up, down, head_dim)


def set_gain_(norm: nn.Module, gain: Tensor, family: Family) -> None:
    """Gives a norm another gain gamma, as the family stores it."""
    weight = cast("Tensor", norm.weight)
    weight.data.copy_(gain.to(weight.device) - family.norm.gain_offset)
