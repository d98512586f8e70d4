"""transformers' experts interface: who computes the routed experts of a layer, and what their modules look like.

Needed: routed experts are fused 3-D parameters of one module, so no hook sees inside. An implementation of our own
computes them (`models.taps.experts_tap`). Registering goes through the table `ALL_EXPERTS_FUNCTIONS`; choosing goes
through the configuration's `_experts_implementation_internal`, since the public `set_experts_implementation` changes
whole models and checks names; the module's `_apply_gate` is its activation, and `_is_expert_parallel` says whether its
experts are spread over processes.

Public alternative: an `ExpertsInterface` beside `AttentionInterface`, and `set_experts_implementation` for one module.
"""

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS


def register_experts(name: str, function: Callable[..., Tensor]) -> None:
    """Makes a function known that computes a layer's routed experts."""
    cast("Any", ALL_EXPERTS_FUNCTIONS).register(name, function)


def experts_implementation(config: Any) -> Any:
    """The name of the implementation that a configuration chooses; None for transformers' default."""
    return config._experts_implementation_internal


def choose_experts_(config: Any, name: Any) -> None:
    """Chooses an implementation, in place."""
    config._experts_implementation_internal = name


def uses_experts_interface(module: nn.Module) -> bool:
    """Whether an experts module can be computed by a registered function."""
    return hasattr(module, "_is_expert_parallel")


def is_expert_parallel(module: Any) -> bool:
    """Whether the experts of a module are spread over processes."""
    return bool(module._is_expert_parallel)


def activation_of(module: Any) -> Callable[[Tensor], Tensor]:
    """What stands between the up projection (with its gate, where there is one) and the down projection."""
    return cast("Callable[[Tensor], Tensor]", module._apply_gate if module.has_gate else module.act_fn)
