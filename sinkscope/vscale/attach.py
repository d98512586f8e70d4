"""V-scale on a finished transformers model, in place, and off again.

`attach_` adds one small module per attention layer, named `vscale`, and switches attention to an implementation that
calls it. No module is replaced and no weight renamed, so original checkpoints load, and `detach_` leaves the
bit-identical model. Attention switched away behind V-scale's back would silently compute another model; a check before
each attention call makes that an error.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.compat.attention_implementation import implementation_of, switch_attention_
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.models.families import family_of
from sinkscope.models.shape import shape_of
from sinkscope.models.taps.attention_tap import TAP
from sinkscope.models.taps.edits import EDITED
from sinkscope.models.taps.redirect import Redirect, check_fused
from sinkscope.vscale.module import VARIANTS, VScale
from sinkscope.vscale.valved_attention import WITH_VALVE, WITHOUT_VALVE, valved_fused

CHILD = "vscale"
_GUARD = "_sinkscope_vscale_guard"


def attach_(model: PreTrainedModel, *, variant: str = "learned", scale: list[Tensor] | None = None) -> PreTrainedModel:
    """Puts V-scale on the values of every attention layer, in place.

    Args:
        model: a causal LM of a supported family; a peft model is given by its `get_base_model()`.
        variant: one of `vscale.module.VARIANTS`.
        scale: C at theta = 0 by layer, each [K]; by default the paper's (`paper_scale`).

    Returns:
        The same model.

    Raises:
        SinkscopeError: if V-scale is attached already, `scale` has another shape than the model, or the model's
            architecture or attention implementation is not supported.
    """
    if variant not in VARIANTS:
        raise RequestError(f"a variant of V-scale is one of {', '.join(VARIANTS)}, not {variant}")
    if attached(model):
        raise SinkscopeError("V-scale is attached already: detach_ it first")
    modules = attention_modules(model)
    family = family_of(model)
    if family.no_valve:
        raise SinkscopeError(f"V-scale cannot be put on a '{family.model_type}': {family.no_valve}")
    plain = implementation_of(model.config)
    if plain not in WITH_VALVE:
        raise SinkscopeError(f"V-scale works with the attention implementations {', '.join(WITH_VALVE)}, not {plain}")
    scale = paper_scale(model) if scale is None else scale
    heads = [kv_heads(model)] * len(modules)
    if [len(of_layer) for of_layer in scale] != heads:
        raise SinkscopeError(f"V-scale needs {len(heads)} layers of {heads[0]} value heads, and was given others")
    if family.intercepted:
        check_fused(model)
    elif not switch_attention_(model, WITH_VALVE[plain]):
        raise SinkscopeError(
            f"{type(model).__name__} does not use transformers' attention interface, so V-scale cannot reach its values"
        )
    for module, of_layer in zip(modules, scale, strict=True):
        module.add_module(CHILD, VScale(of_layer.to(_device(module)), variant))
        guard: Any = (
            Redirect(module, valved_fused, heads[0])
            if family.intercepted
            else module.register_forward_pre_hook(_refuse_if_switched)
        )
        setattr(module, _GUARD, guard)
    return model


def detach_(model: PreTrainedModel) -> PreTrainedModel:
    """Takes V-scale off again, in place; what is left is bit-identical to the model before.

    Raises:
        SinkscopeError: if the model has no V-scale.
    """
    if not attached(model):
        raise SinkscopeError("there is no V-scale on this model to detach")
    for module in attention_modules(model):
        delattr(module, CHILD)
        getattr(module, _GUARD).remove()
        delattr(module, _GUARD)
    current = implementation_of(model.config)
    if current in WITHOUT_VALVE:
        switch_attention_(model, WITHOUT_VALVE[current])
    return model


def attached(model: PreTrainedModel) -> list[VScale]:
    """The valves of a model, first layer to last; empty without V-scale."""
    valves = [getattr(module, CHILD, None) for module in attention_modules(model)]
    return cast("list[VScale]", valves) if all(isinstance(valve, VScale) for valve in valves) else []


def paper_scale(model: PreTrainedModel) -> list[Tensor]:
    """C at theta = 0 from the initializer, equation (15) of docs/definitions.md: d_in * head_dim * sigma^2.

    About E|v|^2 of a freshly initialized model, whose normalized inputs have unit variance per channel. d_in, the
    channels that a value is projected from, is the hidden size, or the rank of a latent.

    Returns:
        A float32 [K] per layer.
    """
    shape = shape_of(family_of(model), model.config)
    c = shape.value_input * shape.head_dim * shape.sigma**2
    return [torch.full((shape.kv_heads,), c, dtype=torch.float32) for _ in attention_modules(model)]


def set_ramp_(model: PreTrainedModel, ramp: float) -> None:
    """Multiplies C everywhere by `ramp`: 0 is no valve, 1 the full one."""
    for valve in attached(model):
        valve.ramp.fill_(ramp)


def kv_heads(model: PreTrainedModel) -> int:
    """Value heads per layer."""
    return shape_of(family_of(model), model.config).kv_heads


def attention_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The attention modules of a model, first layer to last."""
    family = family_of(model)
    return [layer.get_submodule(family.attention) for layer in family.decoder_layers(model)]


def _device(module: nn.Module) -> torch.device:
    """Where the valve of a module belongs; of one without its weights in memory, the CPU."""
    device = next(module.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device


def _refuse_if_switched(module: nn.Module, _: tuple[Any, ...]) -> None:
    implementation = implementation_of(module.config)
    edited = implementation.startswith(EDITED) and implementation.removeprefix(EDITED).startswith("vscale")
    if implementation not in WITHOUT_VALVE and implementation != TAP and not edited:
        raise SinkscopeError(
            f"attention was switched to {implementation} with V-scale attached, which would bypass it: "
            "detach_ V-scale, switch, and attach_ it again"
        )
