"""The dtype that `dtype=auto` stands for on a CPU that is slow in 16 bit.

Processors without instructions for bfloat16 (AVX512-BF16, AMX) widen every factor of a matrix product, by code that has
seen less care than that for float32: an analysis in the checkpoint's own dtype then takes several times as long as one
in float32. So both are tried for a moment, once per process. 16-bit weights are widened, which changes none of them,
where that is at least twice as fast and memory has room for it. Whoever names a dtype gets that one.
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch

from sinkscope.inputs import ModelSource
from sinkscope.loading.device import named_device
from sinkscope.loading.quantizer import stored_dtype
from sinkscope.loading.resolve import Resolved
from sinkscope.names import RESIDENT
from sinkscope.planning.configured import read_configuration
from sinkscope.planning.machine import Machine
from sinkscope.planning.memory import memory_of
from sinkscope.planning.speed import seconds_of_product

WIDE = "float32"
_SLOW = 2.0  # times as long: below, the checkpoint's dtype is kept
_SIZE, _TRIES = 384, 5


class Widened(NamedTuple):
    """The source with its dtype chosen, and why."""

    source: ModelSource
    why: str


def widened(
    source: ModelSource,
    resolved: Resolved,
    machine: Machine,
    *,
    held_as: str | None,
    tokens: int,
    sequences: int,
    batch_size: int,
    begun: str | None = None,
) -> Widened | None:
    """What `auto` stands for where it is not the checkpoint's dtype; None where it is.

    Args:
        source: as it was asked for.
        resolved: what its name stands for.
        machine: what is free.
        held_as: the quantization that weights are held in, or None.
        tokens: T.
        sequences: N.
        batch_size: sequences per forward pass.
        begun: the dtype of unfinished work that is gone on with, whatever a trial says today; None where there is none.
    """
    if source.dtype != "auto" or source.device_map is not None or held_as is not None:
        return None
    if resolved.quantization is not None or resolved.gguf is not None:
        return None
    stored = stored_dtype(resolved.config)
    if stored not in ("bfloat16", "float16") or named_device(source.device).type != "cpu":
        return None
    wide = replace(source, dtype=WIDE)
    if begun is not None:
        return Widened(wide, f"{WIDE}, as the unfinished work has it") if begun == WIDE else None
    times = slowness(stored)
    if times < _SLOW:
        return None
    config = read_configuration(resolved).config
    needed, free = memory_of(
        config, machine, tokens=tokens, sequences=sequences, batch_size=batch_size, dtype=WIDE, device="cpu",
        driver=RESIDENT,
    )  # fmt: skip
    if needed > 0.9 * free:
        return None
    return Widened(
        wide,
        f"{WIDE} and not the checkpoint's {stored}, in which a matrix product takes {times:.1f} times as long here",
    )


@cache
def slowness(dtype: str) -> float:
    """How many times as long a matrix product takes in a dtype as in float32 on the CPU."""
    wide = torch.randn(_SIZE, _SIZE)
    narrow = wide.to(getattr(torch, dtype))
    pairs = [(seconds_of_product(narrow), seconds_of_product(wide)) for _ in range(_TRIES + 1)][1:]
    return min(pair[0] for pair in pairs) / max(min(pair[1] for pair in pairs), 1e-9)
