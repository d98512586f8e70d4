"""The engine below the loop: accelerate's, with one gap filled.

accelerate decides from its own configuration (`accelerate launch --config_file ...`) whether a model is replicated
(DDP), sharded (FSDP2, DeepSpeed ZeRO) or alone on its device, and the loop need not know. The gap: on CPUs accelerate
takes a request for FSDP and makes DDP of it without a word. There `fully_shard`, which works on any backend, is called
here instead, so that what was asked for is what runs.
"""

import datetime
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.models.families import family_of
from sinkscope.training.trackers import check_tracker

_PATIENCE = datetime.timedelta(hours=24)  # while the main process tokenizes, the others wait


@dataclass
class Engine:
    """A model and its optimizer, ready for steps.

    Attributes:
        accelerator: accelerate's.
        model: what to call; its forward pass runs under the engine's autocast.
        optimizer: torch's optimizer over the trained parameters, possibly wrapped by accelerate.
        sharded_here: whether this module sharded the model, in the place of accelerate.
    """

    accelerator: Accelerator
    model: nn.Module
    optimizer: Any
    sharded_here: bool = False

    @property
    def bare(self) -> PreTrainedModel:
        """The transformers model itself."""
        return cast("PreTrainedModel", self.accelerator.unwrap_model(self.model))

    @property
    def sharded(self) -> bool:
        """Whether the parameters are spread over the processes."""
        return any(isinstance(p, DTensor) for p in self.model.parameters())

    def in_words(self) -> str:
        """How the training is spread over processes."""
        count = self.accelerator.num_processes
        if count == 1:
            return f"one process on {self.accelerator.device}"
        return f"{count} processes, parameters {'sharded (FSDP2)' if self.sharded else 'replicated'}"

    def accumulating(self, last: bool) -> AbstractContextManager[Any]:
        """Around a forward and backward pass: gradients are exchanged in the last one of a step alone."""
        if self.sharded_here:
            cast("FSDPModule", self.model).set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else cast("AbstractContextManager[Any]", self.accelerator.no_sync(self.model))

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the training steps."""
        return cast("AbstractContextManager[Any]", self.accelerator.autocast())

    def clip(self, largest: float) -> float:
        """Scales the gradient down to norm `largest` where it is larger, and returns its norm before that."""
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), largest)
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        return float(norm)


def make_accelerator(
    *, precision: str, device: str = "auto", log_to: str | None = None, folder: str | None = None
) -> Accelerator:
    """Accelerate's engine for a training.

    Args:
        precision: `bfloat16` for autocast over float32 weights, `float32`, or `auto`, which is bfloat16 on a GPU.
        device: `cpu` keeps a training off a GPU that is there.
        log_to: one of `trackers.TRACKERS`.
        folder: where a tracker keeps its files.

    Raises:
        SinkscopeError: if the tracker is not installed.
    """
    check_tracker(log_to)
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    return Accelerator(
        mixed_precision="bf16" if precision == "bfloat16" or (precision == "auto" and not on_cpu) else "no",
        cpu=on_cpu,
        log_with=log_to,
        project_dir=folder,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )


def prepare(accelerator: Accelerator, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> Engine:
    """Hands a model and its optimizer, which has no state yet, to the engine.

    Raises:
        SinkscopeError: if sharding was asked for and cannot be had.
    """
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if not (asked and accelerator.device.type == "cpu" and accelerator.num_processes > 1):
        prepared, wrapped = accelerator.prepare(model, optimizer)
        return Engine(accelerator, prepared, wrapped)
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise SinkscopeError("only version 2 of FSDP is supported: set fsdp_version to 2 in accelerate's configuration")
    if accelerator.mixed_precision != "no":
        raise SinkscopeError("FSDP2 on CPUs trains in float32: set precision to float32")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for layer in family_of(model).decoder_layers(model):
        fully_shard(layer)
    fully_shard(model)
    sharded = dict(model.named_parameters())
    for group in optimizer.param_groups:
        group["params"] = [sharded[names[id(parameter)]] for parameter in group["params"]]
    return Engine(accelerator, model, optimizer, sharded_here=True)


def averaged(accelerator: Accelerator, value: Tensor) -> float:
    """The mean of a scalar over the processes."""
    return float(cast("Tensor", accelerator.reduce(value.detach(), "mean")))
