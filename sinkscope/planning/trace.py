"""What a forward and backward pass keeps in memory, counted without making it.

A formula for saved activations has to know every architecture; autograd knows them already. So the model is built on
the meta device, where tensors have shapes and no contents, one micro-batch runs through it forward and backward, and a
dispatch mode follows every storage from its birth to its release. The count is that of the model's own code: its norms'
float32 copies, its experts, its rotary embeddings. The head is not run: its logits are made a chunk at a time.

Attention runs as the fused operator that the attention tap uses, which saves q, k, v, its output and one number per
row, and never a T x T tensor.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from sinkscope.compat.fused_attention import fused_attention, is_fused_attention
from sinkscope.compat.storages import TorchDispatchMode, sdpa_replaced, storage_key, tensors_in

PLANNED = "sinkscope_planned"


@dataclass(frozen=True)
class Trace:
    """Bytes of activations of one micro-batch.

    Attributes:
        saved: what is alive between the passes, from the embedding to the final norm.
        peak: the most that is alive at any time of both.
        layer_peak: the same for the layer that needs most, run on its own forward and backward.
        state: one hidden state [B, T, D].
        arguments: what layers are handed beside the hidden state, as rotary embeddings, once for all layers.
        widest: the widest activation per token that a module inside the layers puts out, in numbers.
        attention_pairs: query-key pairs times heads times head dimension, summed over layers, causality counted.
    """

    saved: int
    peak: int
    layer_peak: int
    state: int
    arguments: int
    widest: int
    attention_pairs: int


def trace(
    model: PreTrainedModel,
    decoder: nn.Module,
    layers: list[nn.Module],
    batch_size: int,
    tokens: int,
    *,
    backward: bool,
) -> Trace:
    """Follows one micro-batch through a model's decoder, forward and backward; the head is not run.

    Args:
        model: on the meta device, frozen, made with the attention implementation `PLANNED`.
        decoder: the module that reads token ids and returns the last hidden states.
        layers: its decoder layers.
        batch_size: sequences of the micro-batch.
        tokens: tokens of each.
        backward: whether there is a backward pass.

    Raises:
        Exception: of any kind, where the architecture's code looks at a tensor's contents.
    """
    ids = torch.zeros(batch_size, tokens, dtype=torch.long, device="meta")
    calls: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    widths: set[int] = set()
    live = _LiveBytes(model)
    handles = [model.get_input_embeddings().register_forward_hook(_needs_gradient(backward))]
    for layer in layers:
        handles.append(layer.register_forward_pre_hook(_noting(calls), with_kwargs=True))
        handles += [part.register_forward_hook(_widening(widths)) for part in layer.modules()]
    try:
        with live, _fused_everywhere(), torch.set_grad_enabled(backward):
            hidden = decoder(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)[0]
            saved = live.now
            if backward:
                hidden.backward(torch.empty_like(hidden))
    finally:
        for handle in handles:
            handle.remove()
    first = _hidden(*calls[layers[0]])
    return Trace(
        saved=saved,
        peak=live.peak,
        layer_peak=max(_layer_peak(layer, *calls[layer], backward=backward) for layer in _different(layers)),
        state=first.numel() * first.element_size(),
        arguments=_arguments(calls),
        widest=max(widths),
        attention_pairs=live.attention_pairs,
    )


class _LiveBytes(TorchDispatchMode):
    """Sums the bytes of all storages that are alive, those of a model's parameters and buffers left out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self.attention_pairs = 0
        self._alive: dict[int, Any] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self._alive[storage_key(tensor.untyped_storage())] = None

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator and notes the storages that it makes."""
        output = function(*args, **(kwargs or {}))
        if is_fused_attention(function):
            B, H, T, d = args[0].shape
            self.attention_pairs += B * H * d * T * (T + 1) // 2
        for tensor in tensors_in(output):
            self._note(tensor.untyped_storage())
        return output

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage_key(storage), storage.nbytes()
        if key in self._alive:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def _layer_peak(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, backward: bool) -> int:
    """Peak of one layer's forward and backward pass on the arguments of a traced call, its input not counted."""
    hidden = _hidden(args, kwargs).detach().requires_grad_(backward)
    args, kwargs = ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})
    live = _LiveBytes(layer)
    for tensor in tensors_in((args, kwargs)):
        live._alive[storage_key(tensor.untyped_storage())] = None
    with live, _fused_everywhere(), torch.set_grad_enabled(backward):
        output = layer(*args, **kwargs)
        output = output[0] if isinstance(output, tuple) else output
        if backward:
            output.backward(torch.zeros_like(output))
    return live.peak


def _different(layers: list[nn.Module]) -> Iterator[nn.Module]:
    """One layer of each kind: those whose parameters have the same shapes are alike."""
    seen = set()
    for layer in layers:
        kind = tuple((name, tuple(parameter.shape)) for name, parameter in layer.named_parameters())
        if kind not in seen:
            seen.add(kind)
            yield layer


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    return hidden


def _arguments(calls: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]]) -> int:
    storages = {}
    for args, kwargs in calls.values():
        hidden = _hidden(args, kwargs)
        for tensor in tensors_in((args, kwargs)):
            if tensor is not hidden:
                storages[storage_key(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def _noting(calls: dict[nn.Module, Any]) -> Callable[..., None]:
    def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Detached, so that what is noted keeps no graph alive that the backward pass would have released.
        args = tuple(x.detach() if isinstance(x, Tensor) else x for x in args)
        kwargs = {name: x.detach() if isinstance(x, Tensor) else x for name, x in kwargs.items()}
        calls[layer] = (args, kwargs)

    return note


def _widening(widths: set[int]) -> Callable[..., None]:
    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        if isinstance(x, Tensor) and x.dim() == 3:
            widths.add(x.shape[-1])

    return note


def _needs_gradient(backward: bool) -> Callable[..., None]:
    def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
        if backward:
            output.requires_grad_(True)

    return hook


def _attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as the tap computes it, for shapes only; transformers' attention interface."""
    return _fused(query, key, value, scale=scaling).transpose(1, 2).contiguous(), None


def _fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, scale: float | None = None, **__: Any) -> Tensor:
    """The fused operator's output [B, H, T, e]; it wants one head dimension, as the tap gives it by padding."""
    d, e = query.shape[-1], value.shape[-1]
    size = max(d, e)
    query, key, value = (F.pad(x, (0, size - x.shape[-1])) if x.shape[-1] < size else x for x in (query, key, value))
    return fused_attention(query, key, value, causal=True, scale=scale)[0][..., :e]


@contextmanager
def shapes_only() -> Iterator[None]:
    """Builds models whose tensors have no contents."""
    with torch.device("meta"):
        yield


def _fused_everywhere() -> Any:
    """Architectures that call torch's attention themselves get the fused operator too."""
    return sdpa_replaced(_fused)


AttentionInterface.register(PLANNED, _attention)
AttentionMaskInterface.register(PLANNED, lambda *_, **__: None)
