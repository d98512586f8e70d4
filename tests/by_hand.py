"""A model whose linear modules round by hand: another way to the numbers of a probe, without the package's code.

Each linear module of the decoder layers is replaced by one that holds a rounded weight and rounds what it is given, in
plain float32 arithmetic, with straight-through gradients written as x + (rounded - x) without a graph.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

FULL = 127  # largest code of 8 bits


class RoundedByHand(nn.Module):
    """A linear module with 8-bit values; `largest` is a calibrated |x|, None takes each token's own."""

    def __init__(self, linear: nn.Linear, *, weights: bool, activations: bool, largest: float | None) -> None:
        super().__init__()
        w = linear.weight.detach()
        step = (w.abs().max(dim=1).values / FULL)[:, None]
        step[step == 0] = 1.0
        self.weight = nn.Parameter((w / step).round() * step if weights else w, requires_grad=False)
        self.bias = linear.bias
        self.activations, self.largest = activations, largest

    def forward(self, x: Tensor) -> Tensor:
        if not self.activations:
            return F.linear(x, self.weight, self.bias)
        largest = x.detach().abs().max(dim=-1, keepdim=True).values if self.largest is None else self.largest
        step = torch.as_tensor(largest / FULL, dtype=torch.float32)
        code = (x.detach() / torch.where(step > 0, step, torch.inf)).round()
        inside = (code.abs() <= FULL).to(x.dtype)
        passed = x * inside
        return F.linear(code.clamp(-FULL, FULL) * step + (passed - passed.detach()), self.weight, self.bias)


def largest_inputs(model: PreTrainedModel, windows: Tensor) -> dict[str, float]:
    """The largest |x| that each linear module reads, window by window."""
    found: dict[str, float] = {}

    def note(name: str) -> "torch.utils.hooks.RemovableHandle":
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
            found[name] = max(found.get(name, 0.0), float(inputs[0].abs().max()))

        return dict(model.named_modules())[name].register_forward_hook(hook)

    handles = [note(name) for name, module in model.model.layers.named_modules(prefix="model.layers")
               if isinstance(module, nn.Linear)]  # fmt: skip
    with torch.no_grad():
        for window in windows:
            model(input_ids=window[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def round_by_hand_(model: PreTrainedModel, name: str, windows: Tensor) -> PreTrainedModel:
    """Puts `w8`, `w8a8-dynamic`, `w8a8-static` or `w8a8-static-down` on a Llama in place, by hand."""
    static, activations = "static" in name, "a8" in name
    largest = largest_inputs(model, windows) if static else {}
    for number, layer in enumerate(model.model.layers):
        for path, module in list(layer.named_modules()):
            if not isinstance(module, nn.Linear) or (name.endswith("-down") and path != "mlp.down_proj"):
                continue
            parent, _, child = path.rpartition(".")
            rounded = RoundedByHand(
                module, weights=True, activations=activations, largest=largest.get(f"model.layers.{number}.{path}")
            )
            setattr(layer.get_submodule(parent), child, rounded)
    return model
