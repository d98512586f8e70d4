"""The experts tap: one capture point for every mixture of experts that uses transformers' experts interface.

transformers keeps a layer's routed experts as fused 3-D parameters, so an expert's down projection is no module and no
hook sees its input. A function registered with the experts interface computes the layer in its place, expert by expert
as transformers' eager loop does (the same operations in the same order, so outputs and gradients are bit-identical to
eager's), and hands each expert's part to an observer.

An architecture whose experts do not use the interface is read by a hook on the experts module: `Experts.rerun` of its
row computes each expert's part once more, for the routed tokens alone and without a graph.

Shapes as in `sinkscope.models.routing`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.compat.experts_interface import (
    activation_of,
    choose_experts_,
    experts_implementation,
    is_expert_parallel,
    register_experts,
    uses_experts_interface,
)
from sinkscope.errors import SinkscopeError
from sinkscope.models.families import family_of
from sinkscope.models.routing import ExpertPart

TAP = "sinkscope_experts"


Observer = Callable[[ExpertPart], None]
_observers: "WeakKeyDictionary[nn.Module, Observer | None]" = WeakKeyDictionary()


@contextmanager
def tapped_experts(observers: Mapping[nn.Module, Observer | None]) -> Iterator[None]:
    """Routes the routed experts of a model through the tap, and back on exit.

    Args:
        observers: what to call for each experts module, or None to compute it alone; nothing is changed where there are
            no modules.

    Raises:
        SinkscopeError: if the experts do not use transformers' experts interface (as most quantized ones do not), or
            are split over processes.
    """
    if not observers:
        yield
        return
    for module in observers:
        if not uses_experts_interface(module) or not _full_precision(module):
            raise SinkscopeError(
                f"experts of the kind {type(module).__name__} cannot be measured: load the model with its experts in "
                "16 or 32 bit"
            )
        if is_expert_parallel(module):
            raise SinkscopeError("experts that are split over processes cannot be measured")
    configs: dict[int, Any] = {id(module.config): module.config for module in observers}
    before = {key: experts_implementation(config) for key, config in configs.items()}
    for config in configs.values():
        choose_experts_(config, TAP)
    _observers.update(observers)
    try:
        yield
    finally:
        for module in observers:
            _observers.pop(module, None)
        for key, config in configs.items():
            choose_experts_(config, before[key])


@contextmanager
def computed_alike(model: PreTrainedModel) -> Iterator[None]:
    """Computes a model's experts as the tap does wherever it runs, observed or not; nothing for dense models.

    Grouped products round otherwise, and in 16 bit that can route a token elsewhere: passes that belong to one analysis
    would be passes of different models.
    """
    family = family_of(model)
    where = family.experts
    if where is None or where.rerun is not None:
        yield
        return
    experts = [find(layer, where.module) for layer in family.decoder_layers(model)]
    with tapped_experts({module: None for module in experts if module is not None}):
        yield


def tapped_forward(module: Any, hidden_states: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """A layer's routed experts as the eager loop computes them, observed on the way; transformers' experts interface.

    Args:
        module: the experts module.
        hidden_states: [S, D].
        chosen: experts of each token, int64 [S, k].
        weights: their router weights [S, k].

    Returns:
        [S, D], the weighted sum of each token's experts.
    """
    result = torch.zeros_like(hidden_states)
    observe = _observers.get(module)
    biases: tuple[Any, Any] = (None, None)
    first = module.gate_up_proj if module.has_gate else module.up_proj
    if module.has_bias:
        biases = (module.gate_up_proj_bias if module.has_gate else module.up_proj_bias, module.down_proj_bias)
    activate = activation_of(module)
    for expert in chosen.unique().tolist():
        slot, tokens = torch.where(expert == chosen.T)
        up = _project(hidden_states[tokens], first, biases[0], expert, transposed=module.is_transposed)
        down_in = activate(up)
        output = _project(down_in, module.down_proj, biases[1], expert, transposed=module.is_transposed)
        if observe is not None:
            observe(ExpertPart(expert, tokens, down_in.detach(), output.detach()))
        if module.has_post_expert_norm:
            output = module.post_expert_norm(output)
        weighted = output * weights[tokens, slot, None]
        result.index_add_(0, tokens, weighted.to(result.dtype))
    return result


def _project(x: Tensor, weight: Tensor, bias: Tensor | None, expert: int, *, transposed: bool) -> Tensor:
    if not transposed:
        return nn.functional.linear(x, weight[expert], None if bias is None else bias[expert])
    out = x @ weight[expert]
    return out if bias is None else out + bias[expert]


def _full_precision(module: nn.Module) -> bool:
    """Whether the experts' weights are numbers as they stand, not codes of quantized ones."""
    weight = getattr(module, "down_proj", None)
    return isinstance(weight, Tensor) and weight.is_floating_point() and weight.element_size() > 1


def find(layer: nn.Module, path: str | None) -> nn.Module | None:
    """A submodule of a decoder layer; None where this layer has none there."""
    if path is None:
        return None
    try:
        return layer.get_submodule(path)
    except AttributeError:
        return None


register_experts(TAP, tapped_forward)
