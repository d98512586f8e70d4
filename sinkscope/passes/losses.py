"""Next-token cross-entropies, in nats and float32 whatever the model's dtype."""

from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from sinkscope.passes.batches import IGNORED, Batch
from sinkscope.passes.modes import input_device


def loss_sums(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Each sequence's loss in nats, summed over its targets: float32 [B], with a graph where gradients are on."""
    device = input_device(model)
    positions = None if batch.positions is None else batch.positions.to(device)
    logits = model(input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False).logits
    # Targets move, logits stay: a slice or transpose of logits would be a copy, or a slow walk through memory.
    targets = F.pad(batch.targets[:, 1:].to(logits.device), (0, 1), value=IGNORED)
    losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view(targets.shape).sum(1)
