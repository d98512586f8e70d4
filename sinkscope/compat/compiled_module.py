"""What `torch.compile` puts around a module.

Needed: hooks on a compiled module stay silent, so one is recognised, and its original taken out; where parts of a model
are compiled, they are run as they were written. The class and the attributes are private to torch.

Public alternative: none in torch 2.13.
"""

from typing import Any, cast

import torch
from torch import nn


def is_compiled(module: Any) -> bool:
    """Whether a module is what `torch.compile` returned."""
    return isinstance(module, torch._dynamo.OptimizedModule)


def has_compiled_parts(model: nn.Module) -> bool:
    """Whether a module below this one was compiled, by `torch.compile` or in place by `Module.compile`."""
    return any(is_compiled(part) or part._compiled_call_impl is not None for part in model.modules())


def original_of(compiled: Any) -> nn.Module:
    """The module that was compiled."""
    return cast("nn.Module", compiled._orig_mod)
