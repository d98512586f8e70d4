"""MinMax calibration: the largest |x| that each linear module reads, in the unquantized model.

Symmetric quantization needs nothing else of the range. No percentile and no clipping: a single massive activation sets
the scale of its whole tensor, which is the effect under study.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.methods.linear_modules import Place
from sinkscope.models.families import family_of
from sinkscope.passes.batches import Batch, unit
from sinkscope.passes.modes import frozen, input_device
from sinkscope.progress.display import counted


@torch.no_grad()
def calibrate(model: PreTrainedModel, places: list[Place], batches: list[Batch]) -> dict[str, float]:
    """Runs the model and takes the largest |x| at the input of each module.

    Args:
        model: the unquantized model.
        places: the modules.
        batches: windows of text.

    Returns:
        The largest |x| by module name.

    Raises:
        SinkscopeError: if an input is not finite.
    """
    largest = dict.fromkeys((place.name for place in places), torch.zeros(()))

    def watch(name: str) -> "torch.utils.hooks.RemovableHandle":
        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            largest[name] = torch.maximum(largest[name].to(inputs[0].device), inputs[0].abs().amax().float())

        return by_name[name].register_forward_pre_hook(record)

    by_name = {place.name: place.module for place in places}
    handles = [watch(name) for name in by_name]
    try:
        with frozen(model):
            for batch in counted(batches, f"calibrating: {unit(batches)}"):
                _read(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    ranges = {name: float(value) for name, value in largest.items()}
    for name, value in ranges.items():
        if value == torch.inf or value != value:
            raise SinkscopeError(f"the input of {name} is not finite in the unquantized model: try float32 or bfloat16")
    return ranges


def _read(model: PreTrainedModel, batch: Batch) -> None:
    """Runs the decoder: the output head is not quantized, and its logits would take the most memory of all."""
    device = input_device(model)
    positions = None if batch.positions is None else batch.positions.to(device)
    family_of(model).decoder(model)(input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False)
