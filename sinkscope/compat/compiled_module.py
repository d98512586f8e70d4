"""What `torch.compile` puts around a module.

Needed: hooks on a compiled module stay silent, so one is recognised, and its original taken out. Both the class and
the attribute are private to torch.

Public alternative: none in torch 2.13.
"""

from typing import Any, cast

import torch
from torch import nn


def is_compiled(module: Any) -> bool:
    """Whether a module is what `torch.compile` returned."""
    return isinstance(module, torch._dynamo.OptimizedModule)


def original_of(compiled: Any) -> nn.Module:
    """The module that was compiled."""
    return cast("nn.Module", compiled._orig_mod)
