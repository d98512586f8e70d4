from typing import Any

import pytest
import torch
from operators import without_fused_attention
from upstream import moved

HOME = "fused_attention"
CPU = torch.device("cpu")


def _inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(2, heads, 6, 8, requires_grad=True) for heads in (4, 2, 2))


def test_what_is_relied_on() -> None:
    from sinkscope.compat import fused_attention

    assert fused_attention.available(CPU), moved(
        "torch", "torch.ops.aten lacks the CPU's fused attention, and explicit products take its place", HOME
    )
    assert not fused_attention.available(torch.device("meta"))
    q, k, v = _inputs()
    y, lse = fused_attention.fused_attention(q, k, v, causal=True, scale=0.3)
    scores = (q @ k.repeat_interleave(2, 1).transpose(-1, -2) * 0.3).masked_fill(
        torch.ones(6, 6, dtype=torch.bool).triu(1), -torch.inf
    )
    expected = scores.softmax(-1) @ v.repeat_interleave(2, 1)
    what = "the CPU's fused attention returns something else than output and log-sum-exp in float32"
    assert lse.dtype == torch.float32, moved("torch", what, HOME)
    torch.testing.assert_close(lse, scores.logsumexp(-1), msg=lambda text: f"{moved('torch', what, HOME)}\n{text}")
    torch.testing.assert_close(y, expected)
    grad = torch.randn_like(y)
    wanted = torch.autograd.grad(expected, (q, k, v), grad)
    with torch.no_grad():
        found = fused_attention.fused_attention_backward(grad, q, k, v, y, lse, causal=True, scale=0.3)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            one, other, msg=lambda text: f"{moved('torch', 'its backward differs', HOME)}\n{text}"
        )


def test_a_dispatch_mode_recognises_it() -> None:
    from sinkscope.compat.fused_attention import fused_attention, is_fused_attention
    from sinkscope.compat.storages import TorchDispatchMode

    class Seen(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += is_fused_attention(function)
            return function(*args, **(kwargs or {}))

    with Seen() as seen:
        fused_attention(*_inputs(), causal=True, scale=None)
    assert seen.count == 1, moved("torch", "the operator is dispatched under another name", HOME)


def test_a_torch_without_it_is_told() -> None:
    from sinkscope.compat.fused_attention import available, fused_attention

    with without_fused_attention():
        assert not available(CPU)
        with pytest.raises(AttributeError):
            fused_attention(*_inputs(), causal=True, scale=None)
    assert available(CPU)
