"""How long an analysis takes, to the class: seconds, minutes, hours or days.

Time is arithmetic over this machine's measured rate of matrix products, plus what the streamed driver reads from disk.
It is an estimate for planning: caches, other processes and slow disks move it by factors of two.
"""

import time
from dataclasses import dataclass

import torch

from sinkscope.names import LAYER_BY_LAYER, RESIDENT, STREAMED
from sinkscope.planning.choose import Choice
from sinkscope.planning.estimate import Work

READ_RATE = 5e8  # bytes per second: a modest solid-state disk

_MEASURED_SECONDS = 0.15
_STATISTICS = 1.5  # statistics and everything that is no matrix product, over the products alone
_PASSES = {RESIDENT: 2, LAYER_BY_LAYER: 3, STREAMED: 3}  # in units of a forward pass; backward costs as much as it
_CLASSES = (("seconds", 60.0), ("minutes", 3600.0), ("hours", 86400.0), ("days", float("inf")))


@dataclass(frozen=True)
class Duration:
    """Estimated time.

    Attributes:
        time_class: `seconds`, `minutes`, `hours` or `days`.
        seconds: the estimate itself.
        computing: of which arithmetic.
        reading: of which reading weights from disk, apart from computing.
        flops: floating-point operations of all passes.
        rate: measured operations per second.
    """

    time_class: str
    seconds: float
    computing: float
    reading: float
    flops: float
    rate: float


def duration(choice: Choice, work: Work, rate: float) -> Duration:
    """Time of an analysis by the chosen driver.

    A token passes `active` weights with two operations each, and attention costs four per query-key pair and channel.

    Args:
        choice: the driver.
        work: what is analyzed.
        rate: operations per second, as `matmul_rate` measures it.
    """
    batches = -(-work.sequences // work.micro_batch)
    products = 2 * choice.parameters.active * work.sequences * work.tokens
    attention = 4 * choice.trace.attention_pairs * batches
    flops = float(products + attention) * (_PASSES[choice.driver] if work.settings.backward else 1)
    computing = flops * _STATISTICS / rate
    sweeps = 2 if work.settings.backward else 1
    reading = sweeps * choice.parameters.total.stored / READ_RATE if choice.driver == STREAMED else 0.0
    seconds = computing + reading
    return Duration(time_class(seconds), seconds, computing, reading, flops, rate)


def time_class(seconds: float) -> str:
    """The unit that one would name the time in."""
    return next(name for name, limit in _CLASSES if seconds < limit)


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Operations per second of matrix products on a device, measured for a fraction of a second.

    Args:
        device: a torch device.
        dtype: of the factors.
    """
    size = 512
    while True:
        a = torch.randn(size, size, device=device).to(dtype)
        seconds_of_product(a)  # the first product loads kernels
        seconds = seconds_of_product(a)
        if seconds > _MEASURED_SECONDS / 8 or size >= 8192:
            break
        size *= 2
    count = max(1, round(_MEASURED_SECONDS / max(seconds, 1e-6)))
    best = min(seconds_of_product(a) for _ in range(min(count, 8)))
    return 2.0 * size**3 / best


def seconds_of_product(a: torch.Tensor) -> float:
    """Seconds of the product of a matrix with itself."""
    start = time.perf_counter()
    product = a @ a
    if a.is_cuda:
        torch.cuda.synchronize(a.device)
    del product
    return time.perf_counter() - start
