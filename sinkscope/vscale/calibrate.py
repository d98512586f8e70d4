"""Where to start C when V-scale is put on a finished model.

The paper's C comes from the initializer and need have nothing to do with the values of a finished model, which it may
crush all at once. A calibrated C is read off the norms that the model has, per layer and value head:

    C = min(|v_sink| |v_med|, |v_med|^2 / 9)

The second term keeps phi >= 0.9 for ordinary values: r / (r + C) with r = |v_med|^2 >= 9 C. The first lowers C where
the sink's value is drained, to the geometric mean of the two squared norms at most.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.metrics.moments import token_norms
from sinkscope.models.taps.attention_tap import AttentionCall, Observer, tapped
from sinkscope.vscale.attach import attached, attention_modules


@torch.no_grad()
def calibrated_scale(model: PreTrainedModel, input_ids: Tensor, *, batch_size: int = 1) -> list[Tensor]:
    """C at theta = 0 from the value norms of a calibration pass, for `attach_(model, scale=...)`.

    `|v_sink|` is the mean norm at position 0, `|v_med|` the median over the tokens of all other positions and
    sequences.

    Args:
        model: a causal LM without V-scale, in eval mode.
        input_ids: windows [N, T] without padding, T >= 2.
        batch_size: windows per forward pass.

    Returns:
        A float32 [K] per layer, on the CPU.

    Raises:
        SinkscopeError: if V-scale is attached already, or a window has no second token.
    """
    if attached(model):
        raise SinkscopeError("V-scale is attached already: calibrate before attach_, or detach_ it first")
    if input_ids.shape[1] < 2:
        raise SinkscopeError("calibration needs windows of at least 2 tokens")
    modules = attention_modules(model)
    norms: list[list[Tensor]] = [[] for _ in modules]
    observers: dict[nn.Module, Observer] = {module: _keeper(kept) for module, kept in zip(modules, norms, strict=True)}
    with tapped(model, observers):
        for ids in input_ids.split(batch_size):
            model(input_ids=ids.to(model.device), use_cache=False, logits_to_keep=1)
    return [_scale(torch.cat(kept)) for kept in norms]


def _keeper(kept: list[Tensor]) -> Observer:
    """Keeps the value norms [B, K, T] of each call on the CPU."""

    def observe(call: AttentionCall) -> None:
        kept.append(token_norms(call.v).cpu())

    return observe


def _scale(norms: Tensor) -> Tensor:
    """C of one layer from norms [N, K, T]."""
    sink = norms[:, :, 0].mean(0)
    ordinary = norms[:, :, 1:].transpose(0, 1).flatten(1)
    median = ordinary.median(dim=1).values
    return torch.minimum(sink * median, median.square() / 9)
