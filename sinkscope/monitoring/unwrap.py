"""The conditions under which a model can be measured while it trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from sinkscope.compat.accelerate_forward import forward_of_the_class


@contextmanager
def undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """Passes through the bare model inside the `with` block leave no trace in the training around it.

    Random number generators are put back. Compiled code is neither run nor made. Autocast is off, also where accelerate
    wrapped it around `forward`, so that the stored weights are measured in their own dtype, as in a saved checkpoint.
    """
    devices = sorted({p.device.index for p in model.parameters() if p.is_cuda})
    stance: Any = torch.compiler.set_stance("force_eager")
    with (
        torch.random.fork_rng(devices),
        torch.inference_mode(mode=False),
        torch.autocast(model.device.type, enabled=False),
        stance,
        forward_of_the_class(model),
    ):
        yield
