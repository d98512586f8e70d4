"""The decoder's last hidden states: a pass over text without the output head, whose logits would take most memory."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.models.families import family_of
from sinkscope.passes.batches import Batch
from sinkscope.passes.modes import frozen, input_device


@torch.no_grad()
def last_hidden(model: PreTrainedModel, batches: list[Batch]) -> list[Tensor]:
    """The decoder's last hidden states of each pass, float32 on the CPU."""
    decoder, device = family_of(model).decoder(model), input_device(model)
    states = []
    with frozen(model):
        for batch in batches:
            positions = None if batch.positions is None else batch.positions.to(device)
            output = decoder(input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False)
            states.append(output.last_hidden_state.float().cpu())
    return states
