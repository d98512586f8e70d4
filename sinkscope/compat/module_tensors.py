"""The tables of a torch module: which parameters and buffers it has.

Needed: a streamed part's weights are put into a skeleton and let go again, which is replacing the entries of every
module's `_parameters` and `_buffers` by what they were. V-scale's parameters stay float32 when the model around them is
cast, and stay what they are when a checkpoint does not hold them, for which `Module._apply` and
`Module._load_from_state_dict` are overridden.

Public alternative: `register_parameter` and `register_buffer` for the tables, at the price of checks per tensor;
`register_load_state_dict_pre_hook` for loading, which a copied module would share with its original; none for casts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, cast

import torch
from torch import Tensor, nn


@contextmanager
def restored_tensors(model: nn.Module) -> Iterator[None]:
    """Puts the parameters and buffers back that a model has now; those set in between are let go."""
    before = [(module, dict(module._parameters), dict(module._buffers)) for module in model.modules()]
    try:
        yield
    finally:
        for module, parameters, buffers in before:
            module._parameters.update(parameters)
            module._buffers.update(buffers)


class KeepsItsOwn(nn.Module):
    """A module whose tensors stay float32 when a model is cast, and stay as they are where a checkpoint has none."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves with the model, but is not cast with it."""
        parameters = {name: parameter.detach() for name, parameter in self.named_parameters(recurse=False)}
        gradients = {n: p.grad.detach() for n, p in self.named_parameters(recurse=False) if p.grad is not None}
        buffers = dict(self.named_buffers(recurse=False))
        cast("Any", super())._apply(fn, recurse)  # untyped in torch
        for name, before in parameters.items():
            now = self.get_parameter(name)
            if now.dtype != torch.float32:
                now.grad = None  # of another dtype by now
                now.data = before.to(now.device)
                if name in gradients:
                    now.grad = gradients[name].to(now.device)
        for name, before in buffers.items():
            buffer = self.get_buffer(name)
            if buffer.dtype != torch.float32:
                setattr(self, name, before.to(buffer.device))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Lets a checkpoint of the bare model load strictly: what it does not hold keeps its value."""
        held = self.state_dict(prefix=prefix)
        stored = {k: v.to(held[k].dtype) for k, v in state_dict.items() if k in held}
        super()._load_from_state_dict(held | stored, prefix, *rest)
