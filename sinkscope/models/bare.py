"""The bare model inside what training wraps around it.

A measurement needs the module that its author wrote: hooks on a compiled model stay silent, and a pass through
`DistributedDataParallel` would wait for the other processes. The bare module shares its parameters with every wrapper,
so measuring it measures what is being trained.
"""

from typing import Any

from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from sinkscope.compat.compiled_module import is_compiled, original_of
from sinkscope.errors import RequestError, SinkscopeError

_SHARDED = (
    "the model's parameters are sharded (FSDP, ZeRO-3 or tensor parallelism), so that no process holds a whole layer: "
    "save checkpoints and measure them with `sinkscope track`"
)


def bare_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside `torch.compile`, DistributedDataParallel, DataParallel, DeepSpeed or peft.

    Raises:
        SinkscopeError: for sharded parameters, or where there is no causal LM of transformers inside.
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
            raise RequestError(f"what is measured is a causal LM of transformers, not a {type(inner).__name__}")
    refuse_sharded(inner)
    refuse_headless(inner)
    return inner


def refuse_headless(model: PreTrainedModel) -> None:
    """Refuses a model that ends with its hidden states.

    Raises:
        RequestError: if it does.
    """
    if model.get_output_embeddings() is None:
        raise RequestError(
            f"a {type(model).__name__} has no head that predicts tokens: load it with AutoModelForCausalLM"
        )


def refuse_sharded(model: nn.Module) -> None:
    """Refuses a model of whose parameters a process holds only parts.

    Raises:
        SinkscopeError: if there is such a parameter.
    """
    wrapped = any(isinstance(module, FullyShardedDataParallel) for module in model.modules())
    if wrapped or any(isinstance(p, DTensor) or hasattr(p, "ds_id") for p in model.parameters()):
        raise SinkscopeError(_SHARDED)
