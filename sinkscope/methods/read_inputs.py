"""What linear modules read: functions are shown the inputs of theirs while text passes through the decoder."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.passes.batches import Batch, unit
from sinkscope.passes.decoder_pass import decoder_pass
from sinkscope.passes.modes import frozen
from sinkscope.progress.display import counted


@torch.no_grad()
def read_inputs(
    model: PreTrainedModel,
    shown: Iterable[tuple[nn.Module, Callable[[Tensor], None]]],
    batches: list[Batch],
    words: str,
) -> None:
    """Runs a model over text and shows the inputs of modules.

    Args:
        model: the model.
        shown: modules, each with the function that is shown its input [..., D] at every pass, to look at and leave.
        batches: windows of text.
        words: what this is for, for the display.
    """
    handles = [module.register_forward_pre_hook(_shows(look)) for module, look in shown]
    try:
        with frozen(model):
            for batch in counted(batches, f"{words}: {unit(batches)}"):
                decoder_pass(model, batch)
    finally:
        for handle in handles:
            handle.remove()


def _shows(look: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        look(inputs[0].detach())

    return hook
