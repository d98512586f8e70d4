"""Next-token cross-entropies, in nats and float32 whatever the model's dtype.

    loss of a token = -log p(token | what stands before it)

Every loss that is measured or trained on comes from here. Where a token is no target (`IGNORED`), its loss is 0 and no
mean counts it.
"""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from sinkscope.passes.batches import IGNORED, Batch
from sinkscope.passes.modes import input_device


def cross_entropy(logits: Tensor, targets: Tensor, reduction: Literal["none", "mean"] = "none") -> Tensor:
    """Losses of targets, or their mean, in float32.

    The two layouts sum over the vocabulary in different orders, which shows in the last bits. With the vocabulary last,
    as models give them, logits are read where they lie; with the vocabulary second they are copied first.

    Args:
        logits: [N, V], or [B, V, T], of any dtype.
        targets: [N], or [B, T]: the token that each place's logits predict; moved to the device of the logits.
        reduction: `none` gives a loss per target, `mean` the mean over those that are targets.
    """
    return F.cross_entropy(logits.float(), targets.to(logits.device), ignore_index=IGNORED, reduction=reduction)


def next_token_loss(logits: Tensor, input_ids: Tensor) -> Tensor:
    """The mean loss of windows [B, T] under their logits [B, T, V], the loss to train on."""
    return cross_entropy(logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten(), "mean")


def loss_sums(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Each sequence's loss, summed over its targets: float32 [B], with a graph where gradients are on."""
    return target_losses(model, batch).sum(1)


def target_losses(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The loss of every token behind each place: float32 [B, T], 0 where that is no target."""
    device = input_device(model)
    positions = None if batch.positions is None else batch.positions.to(device)
    logits = model(input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False).logits
    # Targets move, logits stay: a slice or transpose of logits would be a copy, or a slow walk through memory.
    targets = F.pad(batch.targets[:, 1:].to(logits.device), (0, 1), value=IGNORED)
    return cross_entropy(logits.flatten(0, 1), targets.flatten()).view(targets.shape)
