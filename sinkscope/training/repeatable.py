"""Trainings that repeat: the same recipe and seed, the same weights, on as many threads as there are.

A compiled step on several threads of a CPU adds the gradients of tokens that share an embedding with atomic
operations, in whatever order the threads come: two trainings then differ in the last bits, and soon in all. torch's
deterministic algorithms add in one order. Here that costs nothing: threads that wait for each other's atomics are
slower (docs/training.md). On a GPU kernels of several libraries would have to be replaced, and nothing is promised.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a CPU, torch's deterministic algorithms inside the `with` block; elsewhere nothing.

    Args:
        device: that trains.
    """
    if device.type != "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # whose one attribute is made at import, unseen by type checkers
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # for reading what was never written: nobody does
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
