"""The engine below the loop: accelerate's, with one gap filled.

accelerate decides from its own configuration (`accelerate launch --config_file ...`) whether a model is replicated
(DDP), sharded (FSDP2, DeepSpeed ZeRO) or alone on its device, and the loop need not know. The gap: on CPUs accelerate
takes a request for FSDP and makes DDP of it without a word. There `fully_shard`, which works on any backend, is called
here instead, so that what was asked for is what runs.
"""

import datetime
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.launch.environment import told_by_others, without_a_stray_rank
from sinkscope.loading.device import usable_device
from sinkscope.models.families import family_of
from sinkscope.training.recipe import OptimizerConfig
from sinkscope.training.trackers import check_tracker

_WAIT_TIMEOUT = datetime.timedelta(hours=24)  # while the main process tokenizes, the others wait


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
        return cast("AbstractContextManager[Any]", self.accelerator.accumulate(self.model))

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
        SinkscopeError: if the tracker is not installed, DeepSpeed was asked for without a GPU, or there is no such
            device, or a training would take another one, or accelerate cannot make sense of the environment.
    """
    check_tracker(log_to)
    usable_device(device)
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if on_cpu and _configured_for("DEEPSPEED"):
        raise SinkscopeError("DeepSpeed needs a GPU: on CPUs train replicated (ddp.yaml) or sharded (fsdp2.yaml)")
    said = told_by_others()
    try:
        with without_a_stray_rank():
            accelerator = Accelerator(
                mixed_precision="bf16" if precision == "bfloat16" or (precision == "auto" and not on_cpu) else "no",
                cpu=on_cpu,
                log_with=log_to,
                project_dir=folder,
                kwargs_handlers=[InitProcessGroupKwargs(timeout=_WAIT_TIMEOUT)],
            )
    except (ValueError, TypeError, RuntimeError) as error:
        if not said:
            raise
        raise SinkscopeError(f"accelerate cannot start with what the environment says: {said}: {error}") from error
    named, taken = torch.device(device if device != "auto" else accelerator.device), accelerator.device
    if named.type != taken.type or named.index not in (None, taken.index or 0):
        raise RequestError(f"a training takes {taken}, not `device={device}`: choose a GPU with CUDA_VISIBLE_DEVICES")
    return accelerator


def prepare(
    accelerator: Accelerator, model: PreTrainedModel, optimizer: torch.optim.Optimizer, config: OptimizerConfig
) -> Engine:
    """Hands a model and its optimizer, which has no state yet, to the engine.

    Raises:
        SinkscopeError: if the batch cannot be shared, or sharding was asked for and cannot be had.
    """
    share, micro = shares(config, accelerator.num_processes)
    accelerator.gradient_accumulation_steps = share // micro
    if accelerator.distributed_type is DistributedType.DEEPSPEED:
        accelerator.state.deepspeed_plugin.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": micro,
            "gradient_accumulation_steps": share // micro,
            "gradient_clipping": config.clip,
        }
    if not (_configured_for("FSDP") and accelerator.device.type == "cpu" and accelerator.num_processes > 1):
        prepared, wrapped = accelerator.prepare(model, optimizer)
        return Engine(accelerator, prepared, wrapped)
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise SinkscopeError("only version 2 of FSDP is supported: set fsdp_version to 2 in accelerate's configuration")
    if accelerator.mixed_precision != "no":
        raise SinkscopeError("FSDP2 on CPUs trains in float32: set precision to float32")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    wrapper: Any = model
    base = wrapper.get_base_model() if hasattr(wrapper, "get_base_model") else model  # peft's paths are others
    for layer in family_of(base).decoder_layers(base):
        fully_shard(layer)
    fully_shard(model)
    sharded = dict(model.named_parameters())
    for group in optimizer.param_groups:
        group["params"] = [sharded[names[id(parameter)]] for parameter in group["params"]]
    return Engine(accelerator, model, optimizer, sharded_here=True)


def will_be_sharded(accelerator: Accelerator) -> bool:
    """Whether parameters are going to be spread over the processes."""
    return accelerator.distributed_type is DistributedType.FSDP or (
        _configured_for("FSDP") and accelerator.num_processes > 1
    )


def averaged(accelerator: Accelerator, value: Tensor) -> float:
    """The mean of a scalar over the processes."""
    return float(cast("Tensor", accelerator.reduce(value.detach(), "mean")))


def shares(optimizer: OptimizerConfig, processes: int) -> tuple[int, int]:
    """Windows per process and step, and windows per forward pass.

    Raises:
        SinkscopeError: if the batch does not divide evenly: its loss would weigh windows unequally.
    """
    share, left = divmod(optimizer.batch_sequences, processes)
    if left or not share:
        raise RequestError(
            f"a batch of {optimizer.batch_sequences} windows cannot be shared equally by {processes} processes: "
            "change optimizer.batch_sequences or the number of processes")  # fmt: skip
    micro = min(optimizer.micro_sequences or share, share)
    if share % micro:
        raise RequestError(f"optimizer.micro_sequences = {micro} does not divide the {share} windows of a process")
    return share, micro


def _configured_for(engine: str) -> bool:
    """Whether accelerate's launcher was configured for an engine; it says so in the environment."""
    return os.environ.get(f"ACCELERATE_USE_{engine}", "false").lower() == "true"
