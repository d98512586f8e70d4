"""MinMax calibration: the largest |x| that each linear module reads, in the unquantized model.

Symmetric quantization needs nothing else of the range. A single massive activation sets the scale of its whole tensor,
which is the effect under study; `mitigations.clip` takes other ranges.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.methods.linear_modules import Place
from sinkscope.methods.read_inputs import read_inputs
from sinkscope.passes.batches import Batch


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
    largest: dict[str, Tensor] = {}

    def look(name: str) -> Callable[[Tensor], None]:
        def at(x: Tensor) -> None:
            here = x.abs().amax().float()
            largest[name] = torch.maximum(largest[name].to(here.device), here) if name in largest else here

        return at

    read_inputs(model, [(place.module, look(place.name)) for place in places], batches, "calibrating")
    ranges = {name: float(value) for name, value in largest.items()}
    for name, value in ranges.items():
        if value == torch.inf or value != value:
            raise SinkscopeError(f"the input of {name} is not finite in the unquantized model: try float32 or bfloat16")
    return ranges
