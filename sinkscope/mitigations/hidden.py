"""The decoder's last hidden states: a pass over text without the output head, whose logits would take most memory."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.passes.batches import Batch
from sinkscope.passes.decoder_pass import decoder_pass
from sinkscope.passes.modes import frozen


@torch.no_grad()
def last_hidden(model: PreTrainedModel, batches: list[Batch]) -> list[Tensor]:
    """The decoder's last hidden states of each pass, float32 on the CPU."""
    with frozen(model):
        return [decoder_pass(model, batch).last_hidden_state.float().cpu() for batch in batches]
