"""The memory that a verb needs on a loaded model's device, and what was free there before it was loaded."""

import copy
from typing import Any

from transformers import PreTrainedModel

from sinkscope.capture.settings import Settings
from sinkscope.names import RESIDENT
from sinkscope.planning.choose import choose_driver
from sinkscope.planning.machine import Machine


def memory_of(
    config: Any,
    machine: Machine,
    *,
    tokens: int,
    sequences: int = 1,
    batch_size: int = 1,
    dtype: str = "auto",
    quantize: str | None = None,
    device: str = "auto",
    settings: Settings | None = None,
    driver: str = RESIDENT,
) -> tuple[int, int]:
    """Bytes needed, and bytes free.

    Args:
        config: of the model, without a quantization of its own.
        machine: what is free.
        tokens: T.
        sequences: N.
        batch_size: sequences per forward pass.
        dtype: as the model is loaded.
        quantize: as the model is loaded.
        device: as the model is loaded.
        settings: what is measured; forward passes alone are `Settings(backward=False)`.
        driver: one of `names.DRIVERS`.
    """
    choice = choose_driver(
        config, tokens=tokens, sequences=sequences, batch_size=batch_size, dtype=dtype, quantize=quantize,
        device=device, settings=settings, machine=machine,
    )  # fmt: skip
    return choice.bytes[driver], choice.free


def forward_memory(
    model: PreTrainedModel, machine: Machine, *, tokens: int, batch_size: int = 1, quantize: str | None = None
) -> tuple[int, int]:
    """Bytes that forward passes of a loaded model need, its weights included, and bytes that were free before.

    Args:
        model: loaded.
        machine: what was free.
        tokens: T.
        batch_size: sequences per forward pass.
        quantize: as the model was loaded.
    """
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return memory_of(
        config, machine, tokens=max(tokens, 2), sequences=batch_size, batch_size=batch_size,
        dtype=str(model.dtype).removeprefix("torch."), quantize=quantize,
        device=str(model.device) if model.device.type in ("cpu", "cuda") else "auto", settings=Settings(backward=False),
    )  # fmt: skip
