"""A pass through the decoder alone: the output head's logits would take the most memory of all."""

from typing import Any

from transformers import PreTrainedModel

from sinkscope.models.families import family_of
from sinkscope.passes.batches import Batch
from sinkscope.passes.modes import input_device


def decoder_pass(model: PreTrainedModel, batch: Batch) -> Any:
    """Runs a batch through the decoder, without a cache.

    Returns:
        What the decoder returns; `last_hidden_state` [N, T, D] among it.
    """
    device = input_device(model)
    positions = None if batch.positions is None else batch.positions.to(device)
    return family_of(model).decoder(model)(
        input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False
    )
