"""Runs a model with eager attention and keeps everything, cut into sequences without padding.

Each tensor of section 2 of arXiv:2603.17771 is kept with its gradient by `retain_grad`. Padding is removed
here, once: what the other files see are sequences of their own true lengths, whose positions start at 0, so none of
them has to think of masks. `measure` copies the model, so that the one under test is never touched.

`Keeping` and `cut` also serve alone, around a run with another attention implementation: then the maps are recomputed
in float64 from the queries and keys that the attention received. That is how 16-bit runs are checked, where two runs
with different kernels would differ by far more than any statistic may.
"""

import copy
import functools
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from reference.blocks import block_of, final_norm_of, gain_of, layers_of, repeats_of, root_of

Kept = list[dict[str, Tensor]]
NORMED = {"attn": "hn", "mlp": "hn2"}


@dataclass
class Layer:
    """One layer of one sequence, float64.

    Attributes:
        x: tensors by site, [T, d]; q, k, v_scaled and y as [T, heads, head_dim].
        grad: their gradients of the run's mean loss (this sequence's share of it).
        weights: attention maps [heads, T, T].
        vjp: the norms' vector-Jacobian products of the gradients at hn ("attn") and hn2 ("mlp"), [T, d].
        gain: largest |gamma| of the norm, by branch.
        rms: what the norm divides each token by [T], by branch.
        streams: the sites of the stream before and after each branch.
    """

    x: dict[str, Tensor] = field(default_factory=dict)
    grad: dict[str, Tensor] = field(default_factory=dict)
    weights: Tensor = field(default_factory=lambda: torch.empty(0))
    vjp: dict[str, Tensor] = field(default_factory=dict)
    gain: dict[str, float] = field(default_factory=dict)
    rms: dict[str, Tensor] = field(default_factory=dict)
    streams: dict[str, tuple[str, str]] = field(default_factory=dict)

    def flat(self, site: str) -> Tensor:
        """The site's tensor [T, channels], heads concatenated."""
        return self.x[site].flatten(1)

    def flat_grad(self, site: str) -> Tensor:
        """The site's gradient [T, channels], heads concatenated."""
        return self.grad[site].flatten(1)


@dataclass
class Sequence:
    """One sequence without padding: its token ids [T], the loss of each target [T - 1] and its layers."""

    ids: Tensor
    losses: Tensor
    layers: list[Layer]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Measured:
    """All sequences of a run, and the attention's scale c."""

    sequences: list[Sequence]
    scale: float


def measure(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    batch_size: int | None = None,
    document_ids: Tensor | None = None,
    **images: Tensor,
) -> Measured:
    """Runs `model` on `input_ids` [N, T], forward and backward of the mean loss over all targets of the run.

    Args:
        model: a decoder of `reference.blocks`.
        input_ids: tokens, with padding where `attention_mask` [N, T] is 0, on either side.
        attention_mask: 1 for tokens, 0 for padding.
        batch_size: sequences per forward pass; all at once by default.
        document_ids: documents [N, T] that do not see each other, whose rotary positions start anew and whose first
            tokens are no targets.
        images: what else the model reads, where all sequences are one batch.
    """
    model = copy.deepcopy(model).eval()
    model.set_attn_implementation("eager")
    attended = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    spans = [(int(row.nonzero().min()), int(row.nonzero().max()) + 1) for row in attended]
    documents = torch.zeros_like(input_ids) if document_ids is None else document_ids
    follows = [documents[n, a + 1 : b] == documents[n, a : b - 1] for n, (a, b) in enumerate(spans)]
    targets = sum(int(one.sum()) for one in follows)
    mask, positions = attention_mask, None
    if document_ids is not None:
        mask, positions = _document_mask(document_ids), _document_positions(document_ids)
    sequences = []
    for some in torch.arange(len(input_ids)).split(batch_size or len(input_ids)):
        chosen = slice(int(some[0]), int(some[-1]) + 1)
        ids = input_ids[chosen]
        options = {"attention_mask": mask, "position_ids": positions}
        given = {name: whole[chosen] for name, whole in options.items() if whole is not None} | images
        keeping = Keeping(model)
        with keeping as kept:
            logits = model(input_ids=ids, use_cache=False, **given).logits
        own = model(input_ids=ids, use_cache=False, **given).logits
        torch.testing.assert_close(logits, own, rtol=1e-4, atol=1e-4 * float(own.detach().abs().max()))
        losses = [
            nn.functional.cross_entropy(logits[n, a : b - 1].float(), ids[n, a + 1 : b], reduction="none")[predicted]
            for n, ((a, b), predicted) in enumerate(zip(spans[chosen], follows[chosen], strict=True))
        ]
        (torch.cat(losses).sum() / targets).backward()
        sequences += cut(model, kept, ids, spans[chosen], losses)
    return Measured(sequences, keeping.scale)


def _document_mask(documents: Tensor) -> Tensor:
    """Which earlier tokens of its own document a token may see, as an additive mask [N, 1, T, T]."""
    seen = (documents[:, :, None] == documents[:, None]).tril()
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None]


def _document_positions(documents: Tensor) -> Tensor:
    """Each token's position in its own document, for the rotary embedding [N, T]."""
    positions = torch.zeros_like(documents)
    for n in range(len(documents)):
        for t in range(1, documents.shape[1]):
            positions[n, t] = positions[n, t - 1] + 1 if documents[n, t] == documents[n, t - 1] else 0
    return positions


def cut(model: Any, kept: Kept, ids: Tensor, spans: list[tuple[int, int]], losses: list[Tensor]) -> list[Sequence]:
    """Cuts what was kept of a batch into sequences, after its backward pass.

    Args:
        model: the model that ran.
        kept: what `Keeping` kept, by layer and site.
        ids: the batch's tokens [B, T].
        spans: first and last-plus-one position of each sequence.
        losses: each sequence's loss per target.
    """
    return [
        Sequence(
            ids[n, start:end],
            losses[n].detach().double(),
            [_layer(block, kept[i], n, start, end) for i, block in enumerate(layers_of(model))],
        )
        for n, (start, end) in enumerate(spans)
    ]


def _layer(block: Any, kept: dict[str, Tensor], n: int, start: int, end: int) -> Layer:
    layer = Layer(streams=block_of(block).streams)
    for site, tensor in kept.items():
        if site == "weights":
            layer.weights = tensor[n, :, start:end, start:end].detach().double()
            continue
        assert tensor.grad is not None
        pair = [tensor[n], tensor.grad[n]]
        if site in ("k", "v_scaled"):
            repeats = repeats_of(block)
            pair = [pair[0][::repeats], pair[1].unflatten(0, (-1, repeats)).sum(1)]
        if site in ("q", "k", "v_scaled"):
            pair = [half.transpose(0, 1) for half in pair]
        layer.x[site], layer.grad[site] = (half[start:end].detach().double() for half in pair)
    if "v" not in layer.x:  # a slice of a fused projection: what attention received
        layer.x["v"], layer.grad["v"] = layer.flat("v_scaled"), layer.flat_grad("v_scaled")
    for branch, path in block_of(block).norms.items():
        norm, source, result = block.get_submodule(path), layer.streams[branch][0], NORMED[branch]
        x = kept[source][n, start:end].detach().float().requires_grad_()
        gradient = kept[result].grad
        assert gradient is not None
        layer.vjp[branch] = torch.autograd.grad(norm(x), x, gradient[n, start:end].float())[0].double()
        layer.gain[branch] = gain_of(norm)
        layer.rms[branch] = root_of(norm, layer.x[source])
    return layer


class Keeping:
    """Keeps every site's tensor, with its gradient, while the block runs.

    Decoder layers are computed by `reference.blocks`; norms, projections and attention are the model's own modules.

    Usage::

        with Keeping(model) as kept:
            model(ids).logits.sum().backward()
        kept[layer]["hn"].grad
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.blocks = layers_of(model)
        self.kept: Kept = [{} for _ in self.blocks]
        self.scale = 0.0
        self.handles: list[Any] = []
        chosen = AttentionInterface.get_interface

        def watched(interface: AttentionInterface, name: str, default: Any) -> Any:
            return functools.partial(self._attention, chosen(interface, name, default))

        self.running = 0
        self.patches = [
            mock.patch.object(AttentionInterface, "get_interface", watched),
            mock.patch.object(nn.functional, "scaled_dot_product_attention", self._fused),
        ]
        self.patches += [
            mock.patch.object(block, "forward", functools.partial(self._block, i, block))
            for i, block in enumerate(self.blocks)
        ]

    def __enter__(self) -> Kept:
        for patch in self.patches:
            patch.start()
        for i, block in enumerate(self.blocks):
            kind = block_of(block)
            attention = block.get_submodule(kind.attention)
            if hasattr(attention, "v_proj"):
                self._output(attention.v_proj, i, "v")
            mlp = getattr(block, "mlp", getattr(block, "feed_forward", None))
            if not hasattr(mlp, "experts"):  # experts have no common down projection
                self._input(block.get_submodule(kind.down), i, "down_in")
        final = final_norm_of(self.model)
        if final is not None:
            self._input(final, len(self.blocks) - 1, "final_in")
        return self.kept

    def __exit__(self, *_: object) -> None:
        for patch in self.patches:
            patch.stop()
        for handle in self.handles:
            handle.remove()

    def _keep(self, layer: int, site: str, tensor: Tensor) -> Tensor:
        tensor.retain_grad()
        self.kept[layer][site] = tensor
        return tensor

    def _block(self, layer: int, block: nn.Module, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        kind = block_of(block)
        self.running = layer
        kwargs |= dict(zip(kind.arguments, args, strict=False))

        def attend(x: Tensor) -> Tensor:
            result: Tensor = block.get_submodule(kind.attention)(hidden_states=x, **kwargs)[0]
            return result

        keep = functools.partial(self._keep, layer)
        # Twice the same tensor would have one gradient: the stream is kept under a name of its own in each block.
        out = keep("h_out", kind.run(block, keep("h_in", hidden_states.view_as(hidden_states)), attend, keep))
        return (out, None) if type(block).__name__ == "FalconDecoderLayer" else out

    def _input(self, module: nn.Module, layer: int, site: str) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            self._keep(layer, site, args[0])

        self.handles.append(module.register_forward_pre_hook(hook))

    def _output(self, module: nn.Module, layer: int, site: str) -> None:
        def hook(_: nn.Module, __: object, output: Any) -> None:
            self._keep(layer, site, output[0] if isinstance(output, tuple) else output)

        self.handles.append(module.register_forward_hook(hook))

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor,
        dropout_p: float = 0,
        is_causal: bool = False,
    ) -> Tensor:
        """For modules that call torch's attention themselves, always with a mask."""
        assert not dropout_p
        assert not is_causal
        self.scale = query.shape[-1] ** -0.5
        weights = (self.scale * query @ key.transpose(2, 3)).masked_fill(~attn_mask, -torch.inf).softmax(-1)
        y = (weights @ value).transpose(1, 2)
        for site, tensor in (("q", query), ("k", key), ("v_scaled", value), ("y", y)):
            self._keep(self.running, site, tensor)
        self.kept[self.running]["weights"] = weights
        return y.transpose(1, 2)

    def _attention(
        self, inner: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        if not hasattr(module, "layer_idx"):  # of a vision tower
            return inner(module, query, key, value, *args, **kwargs)
        for site, tensor in (("q", query), ("k", key), ("v_scaled", value)):
            self._keep(module.layer_idx, site, tensor)
        self.scale = kwargs["scaling"]
        y, weights = inner(module, query, key, value, *args, **kwargs)
        self._keep(module.layer_idx, "y", y)
        self.kept[module.layer_idx]["weights"] = causal_map(query, key, self.scale) if weights is None else weights
        return y, weights


def causal_map(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """The whole attention map [B, heads, T, T] in float64 under a plain causal mask."""
    query, key = query.detach().double(), key.detach().double()
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    logits = scale * query @ key.transpose(2, 3)
    future = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
    return logits.masked_fill(future, -torch.inf).softmax(-1)
