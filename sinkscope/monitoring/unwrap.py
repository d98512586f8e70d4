"""The bare model inside what training wraps around it, and the conditions under which it can be measured on the way.

A measurement needs the module that its author wrote: hooks on a compiled model stay silent, and a pass through
`DistributedDataParallel` would wait for the other processes. The bare module shares its parameters with every wrapper,
so measuring it measures what is being trained.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from sinkscope.compat.accelerate_forward import forward_of_the_class
from sinkscope.compat.compiled_module import is_compiled, original_of
from sinkscope.errors import SinkscopeError

_SHARDED = (
    "the model's parameters are sharded (FSDP, ZeRO-3 or tensor parallelism), so that no process holds a whole layer: "
    "save checkpoints and measure them with `sinkscope track`"
)


def bare_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside `torch.compile`, DistributedDataParallel, DataParallel, DeepSpeed or peft.

    Raises:
        SinkscopeError: for sharded parameters, or where there is no transformers model inside.
    """
    inner: Any = model
    while not isinstance(inner, PreTrainedModel):
        if isinstance(inner, FullyShardedDataParallel):
            raise SinkscopeError(_SHARDED)
        if is_compiled(inner):
            inner = original_of(inner)
        elif hasattr(inner, "get_base_model"):  # peft: its adapters live inside the base model's own layers
            inner = inner.get_base_model()
        elif isinstance(getattr(inner, "module", None), nn.Module):
            inner = inner.module
        else:
            raise SinkscopeError(f"a Monitor watches a causal LM of transformers, not a {type(inner).__name__}")
    refuse_sharded(inner)
    return inner


def refuse_sharded(model: nn.Module) -> None:
    """Refuses a model of whose parameters a process holds only parts.

    Raises:
        SinkscopeError: if there is such a parameter.
    """
    wrapped = any(isinstance(module, FullyShardedDataParallel) for module in model.modules())
    if wrapped or any(isinstance(p, DTensor) or hasattr(p, "ds_id") for p in model.parameters()):
        raise SinkscopeError(_SHARDED)


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
