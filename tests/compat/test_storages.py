from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from upstream import moved, require

HOME = "storages"


def test_what_is_relied_on() -> None:
    require("torch.utils._python_dispatch:TorchDispatchMode", HOME)
    require("torch.utils._pytree:tree_leaves", HOME, "tree")
    from sinkscope.compat.storages import TorchDispatchMode, storage_key, tensors_in

    with torch.device("meta"):
        x, other = torch.empty(4, 4), torch.empty(4, 4)
    assert storage_key(x.untyped_storage()) == storage_key(x[1:].untyped_storage()), moved(
        "torch", "a view's storage has another _cdata", HOME
    )
    assert storage_key(x.untyped_storage()) != storage_key(other.untyped_storage())
    assert [*tensors_in({"a": [x, (3, other)], "b": None})] == [x, other]

    class Seen(TorchDispatchMode):
        names: list[str]

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(str(function))
            return function(*args, **(kwargs or {}))

    with Seen() as seen:
        seen.names = []
        x @ other
    assert seen.names == ["aten.mm.default"], moved("torch", "a dispatch mode sees other operators", HOME)


def test_fused_attention_is_replaced_inside_the_block() -> None:
    from sinkscope.compat.storages import sdpa_replaced

    def first(query: Tensor, *_: Any, **__: Any) -> Tensor:
        return query

    q, k = torch.zeros(1, 1, 2, 4), torch.ones(1, 1, 2, 4)
    with sdpa_replaced(first):
        assert F.scaled_dot_product_attention(q, k, k) is q
    assert torch.equal(F.scaled_dot_product_attention(q, k, k), k)
