"""Following every storage that operators make.

Needed: the planner counts what a pass keeps in memory from shapes alone. A dispatch mode sees every operator, the
tensors in its result are found as in any nest of containers, and views of one storage count once: two tensors share a
storage where the address of its implementation, `_cdata`, is the same (on the meta device no data pointer tells). Fused
attention is put in the place of `F.scaled_dot_product_attention` meanwhile, for architectures that call it themselves.

Public alternative: none for the mode; `torch.utils.tree_map` and a storage's identity, if torch exports them.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["TorchDispatchMode", "sdpa_replaced", "storage_key", "tensors_in"]


def tensors_in(nest: Any) -> list[Tensor]:
    """The tensors inside containers of any kind."""
    return [leaf for leaf in tree_leaves(nest) if isinstance(leaf, Tensor)]


def storage_key(storage: torch.UntypedStorage) -> int:
    """The same for two objects that stand for one storage, while it is alive."""
    key: int = storage._cdata
    return key


def sdpa_replaced(function: Callable[..., Tensor]) -> AbstractContextManager[Any]:
    """Inside the `with` block, a function in the place of torch's fused attention."""
    return mock.patch.object(F, "scaled_dot_product_attention", function)
