"""Attention that goes past transformers' interface, made to go through a function of ours.

Some architectures (Falcon) call torch's fused attention themselves and never ask transformers for a registered
function. While such an attention module runs, and only then, a `TorchFunctionMode` catches its call of
`F.scaled_dot_product_attention` and makes it a call of our function, with the arguments that transformers' attention
interface would pass. The interface passes one key and value per key/value head; a module that has repeated them for
every query head has that undone first.

Several functions may be set on one module, and only the one set last is called. That is the tap, where a model with
V-scale is measured: the tap applies the valve itself, so V-scale's own function is not needed meanwhile.
"""

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sinkscope.compat.attention_implementation import implementation_of
from sinkscope.errors import SinkscopeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

FUSED = "sdpa"  # the implementation under which these modules call torch's fused attention

Attention = Callable[..., tuple[Tensor, Tensor | None]]

_STACK = "_sinkscope_redirect"


class Redirect:
    """Sends the fused attention of one module to a function until it is undone.

    Args:
        module: the attention module.
        function: takes (module, query, key, value, mask, scaling=, dropout=), returns [B, T, H, e] and anything.
        kv_heads: key/value heads of the module.
    """

    def __init__(self, module: nn.Module, function: Attention, kv_heads: int) -> None:
        self.module = module
        self.mode: _Mode | None = None
        self.function = function
        self.kv_heads = kv_heads
        module.__dict__.setdefault(_STACK, []).append(self)
        self.handles = [
            module.register_forward_pre_hook(self._begin),
            module.register_forward_hook(self._end, always_call=True),
        ]

    def remove(self) -> None:
        """Undoes it."""
        for handle in self.handles:
            handle.remove()
        stack = self.module.__dict__[_STACK]
        stack.remove(self)
        if not stack:
            del self.module.__dict__[_STACK]

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Calls the function in the place of `F.scaled_dot_product_attention`, whose parameters these are.

        The caller passes either a mask or `is_causal=True`. Our function gets `is_causal=True` in both cases, since all
        attention that is measured here is causal; `masks.as_mask`, which reads the mask, checks that it hides later
        tokens. `enable_gqa` is not passed on: it allows torch to have fewer key/value heads than query heads, which our
        function always has.

        Returns:
            The attention's output, laid out as torch's is: [B, H, T, e].
        """
        del enable_gqa
        key, value = (self._once_per_head(x) for x in (key, value))
        options = {"scaling": scale, "dropout": dropout_p, "is_causal": is_causal or attn_mask is not None}
        y, _ = self.function(self.module, query, key, value, attn_mask, **options)
        return y.transpose(1, 2)

    def _once_per_head(self, x: Tensor) -> Tensor:
        """Keys or values [B, K, T, d], where they may come repeated for every query head."""
        repeats = x.shape[1] // self.kv_heads
        return x if repeats == 1 else x[:, ::repeats]

    def _begin(self, _module: nn.Module, _args: tuple[Any, ...]) -> None:
        if self.module.__dict__[_STACK][-1] is self:
            self.mode = _Mode(self)
            self.mode.__enter__()

    def _end(self, *_: Any) -> None:
        if self.mode is not None:
            mode, self.mode = self.mode, None
            cast("Any", mode).__exit__(None, None, None)


class _Mode(TorchFunctionMode):
    def __init__(self, redirect: Redirect) -> None:
        super().__init__()
        self.redirect = redirect

    def __torch_function__(
        self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **kwargs)
        return self.redirect.attend(*args, **kwargs)


def check_fused(model: "PreTrainedModel") -> None:
    """Refuses a model whose attention does not call torch's fused attention as it is set.

    Raises:
        SinkscopeError: if so.
    """
    implementation = implementation_of(model.config)
    if implementation != FUSED:
        raise SinkscopeError(
            f"the attention of a '{model.config.model_type}' can be followed only as '{FUSED}', not as "
            f"'{implementation}': load it with attn_implementation={FUSED!r}"
        )


@contextmanager
def redirected(modules: "list[nn.Module]", function: Attention, kv_heads: int) -> "Iterator[None]":
    """`Redirect` of several modules inside a `with` block."""
    made = [Redirect(module, function, kv_heads) for module in modules]
    try:
        yield
    finally:
        for redirect in made:
            redirect.remove()
