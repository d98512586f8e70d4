"""A torch without the operators that are private to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

GONE = ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward")


class _Without:
    """Operators as they are, some names excepted."""

    def __init__(self, operators: Any) -> None:
        self.operators = operators

    def __getattr__(self, name: str) -> Any:
        if name in GONE:
            raise AttributeError(name)
        return getattr(self.operators, name)


@contextmanager
def without_fused_attention() -> Iterator[None]:
    """Inside the `with` block, torch lacks the CPU's fused attention with log-sum-exp, as another release may."""
    with mock.patch.object(torch.ops, "aten", _Without(torch.ops.aten)):
        yield
