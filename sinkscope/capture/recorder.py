"""From what the hooks see to the statistics of a run (`capture.recorded`).

Some sites are the same tensor under two names: the residual stream leaving a block enters the next one, and without
V-scale the attention sees the raw values. Such a tensor is reduced once, under its canonical name.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sinkscope.capture.micro_batch import MicroBatch, Span
from sinkscope.capture.recorded import Key, Recorded
from sinkscope.capture.settings import Settings
from sinkscope.capture.statistics.attention_columns import cut
from sinkscope.capture.statistics.bound_tally import BoundTally
from sinkscope.capture.statistics.expert_statistics import ExpertStatistics, Places, RoutingStatistics, groups
from sinkscope.capture.statistics.gradient_statistics import GradientBlocks, GradientSum
from sinkscope.capture.statistics.head_statistics import Covered, HeadStatistics
from sinkscope.capture.statistics.layer_sites import LayerSites, Reduced, reduced
from sinkscope.capture.statistics.learned_sink_statistics import LearnedSinks
from sinkscope.capture.statistics.modality_statistics import Modalities, kinds
from sinkscope.capture.statistics.site_statistics import ValueStatistics, listed
from sinkscope.capture.statistics.slope_sums import SlopeSums
from sinkscope.errors import SinkscopeError
from sinkscope.metrics.bounds import TOLERANCE, ValueBounds, value_bounds
from sinkscope.metrics.moments import token_norms
from sinkscope.metrics.reshaping import NormAt, norm_vjp_and_bound, ratio
from sinkscope.models.layout import Layout
from sinkscope.models.routing import ExpertPart, Routing
from sinkscope.models.taps.attention_tap import AttentionCall
from sinkscope.sites import Site

K = TypeVar("K")
S = TypeVar("S")
_Waiting = tuple[int, MicroBatch, dict[Site, list[Reduced]]]
_Unfilled = tuple[int, MicroBatch, list[AttentionCall], list[Covered]]
MASSIVE_SITES = (Site.H_OUT, Site.R_MLP, Site.R_ATTN, Site.DOWN_IN)


class Recorder(Recorded):
    """Feeds the statistics of one run.

    Args:
        settings: what is measured.
        layers: number of decoder layers.
        layout: which sites and branches they have; by default a pre-norm decoder's.
        image_ids: token ids that stand for image embeddings; empty where a model reads text alone.
        first: number of the first sequence in a run whose other sequences are recorded elsewhere, to be merged; None
            where all are recorded here.

    Attributes:
        valved: whether V-scale stands between projection and attention (`expect`).
        sequences: how many are to be recorded here, where a driver knows it; 0 where nobody does.
        without_gradient: first sequences of the forward passes, of this process, that no gradient has arrived for.
        broken: whether something was recorded of a forward pass that ended with an exception.
    """

    def __init__(
        self,
        settings: Settings,
        layers: int,
        layout: Layout | None = None,
        *,
        image_ids: tuple[int, ...] = (),
        first: int | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.layers = layers
        self.layout = layout or Layout()
        self.image_ids = image_ids
        self.first = first or 0
        self.shared = first is not None
        self.valved = False
        self.sequences = 0
        self.without_gradient: set[int] = set()
        self.broken = False
        self._adding = threading.Lock()  # gradients of passes in several threads arrive when they please
        self._waiting: _Waiting | None = None  # sites of the layer that the present pass is in
        self._latest: MicroBatch | None = None  # the pass that activations arrived from last
        self._entering: tuple[Tensor, ...] = ()  # token norms of the layer whose attention is next, replaced by each
        self._unfilled: tuple[_Unfilled, ...] = ()  # layers of the present pass, replaced by each
        self._keeps_entries = {self.canonical(layer, site) for layer in range(layers) for site in MASSIVE_SITES}

    def state(self) -> dict[str, Any]:
        """The fields by name, with what waited to be added."""
        self.gather()
        return super().state()

    def expect(self, *, valved: bool) -> None:
        """Says, before passes are recorded, whether V-scale stands between projection and attention in them."""
        self.valved = valved

    def canonical(self, layer: int, site: Site) -> Key:
        """The name under which a site's tensor is reduced."""
        if site is Site.H_OUT:
            if layer < self.layers - 1:
                return layer + 1, Site.H_IN
            return layer, site if Site.FINAL_IN in self.layout.absent else Site.FINAL_IN
        return layer, Site.V_SCALED if site is Site.V and not self.valved else site

    def begin(self, size: int, input_ids: Tensor | None, spans: tuple[Span, ...] | None = None) -> MicroBatch:
        """Adds a forward pass over the run's next `size` sequences.

        Args:
            size: B.
            input_ids: token ids [B, T]; None where the caller passed embeddings.
            spans: where the sequences lie in a padded batch.
        """
        first = self.batches[-1].first + self.batches[-1].size if self.batches else self.first
        ids = None if input_ids is None else input_ids.detach().cpu()
        self.batches.append(MicroBatch(first, size, ids, spans))
        self.without_gradient.add(first)
        return self.batches[-1]

    def failed(self, batch: MicroBatch) -> None:
        """Says that a forward pass, the last that began, ended with an exception.

        One that nothing was recorded of is forgotten. Of any other, some layers hold sequences that others lack.
        """
        self._unfilled = ()
        self._waiting = None
        if self._latest is batch:
            self.broken = True
        else:
            self.batches.pop()
            self.without_gradient.discard(batch.first)

    def settle(self, layer: int) -> None:
        """Reduces the gradients of a layer that is done to what the tables need, unless others are to be merged in."""
        if self.shared:
            return
        for kept in (self.gradients, self.reshaped):
            for key, gradient in kept.items():
                if key[0] == layer and gradient.settled is None:
                    gradient.settle()
        if layer in self.blocks:
            self.blocks[layer].settle()

    def activation(
        self,
        layer: int,
        site: Site,
        batch: MicroBatch,
        x: Tensor,
        rows: Callable[[Tensor], Tensor] = torch.Tensor.detach,
        factor: float = 1.0,
    ) -> None:
        """Reduces the activations of a site and, where gradients are measured, sums theirs.

        Args:
            layer: decoder layer.
            site: where.
            batch: the forward pass.
            x: the tensor on the model's path, which is watched for its gradient.
            rows: turns x, and its gradient, into [B, T, ...].
            factor: the site's tensor is `factor` times x, and its gradient that of x over `factor`.
        """
        key = self.canonical(layer, site)
        kept = key in self._keeps_entries
        pieces = batch.pieces(rows(_times(x.detach(), factor)))
        parts = [reduced(piece.flatten(2), keeps_entries=kept) for _, piece in pieces]
        self._wait(key, batch, parts)
        if site is Site.H_IN:
            self._entering = tuple(part.moments.squared_norms.sqrt() for part in parts)
        if self.image_ids:
            self._update_modalities(key, batch, rows(x.detach()))

        def sum_gradient(grad: Tensor) -> None:
            for _, piece in batch.pieces(rows(_times(grad, 1 / factor))):
                self._gradient_sum(self.gradients, key).update(piece)

        self.watch(x, sum_gradient, batch)

    def norm(
        self,
        layer: int,
        branch: str,
        batch: MicroBatch,
        x: Tensor,
        y: Tensor,
        norm: NormAt,
        rows: Callable[[Tensor], Tensor] = torch.Tensor.detach,
    ) -> None:
        """Watches the gradient at a branch norm's output for equations (8) and (13).

        Args:
            layer: decoder layer.
            branch: attn or mlp.
            batch: the forward pass.
            x: the norm's input.
            y: its output, or the part of it that the branch reads.
            norm: the norm.
            rows: turns x, and the gradient at y, into [B, T, D].
        """
        # A hook must not hold the tensor it hangs on: that cycle would keep the whole graph until the next collection.
        x, dtype = rows(x.detach()), y.dtype

        def pull_back(grad: Tensor) -> None:
            for (first, g), (_, piece) in zip(batch.pieces(rows(grad)), batch.pieces(x), strict=True):
                pulled, limit = norm_vjp_and_bound(g, piece, norm)
                self._gradient_sum(self.reshaped, (layer, branch)).update(pulled)
                norms = token_norms(g)
                bound = torch.where(norms > 0, limit, 0.0)
                positions = torch.arange(g.shape[1], device=g.device)
                self._tally(layer, f"compress_{branch}", dtype).update(
                    first, positions, ratio(token_norms(pulled), norms), bound
                )
                if branch == "attn":
                    _of(self.blocks, layer, GradientBlocks, self.settings.early + 1).update(first, g)

        self.watch(y, pull_back, batch)

    def attention(self, layer: int, batch: MicroBatch, call: AttentionCall) -> None:
        """Reduces an attention call, and checks equation (12) when its gradients arrive."""
        projected = [(Site.V, call.v_raw)] if self.valved else []
        for site, x in ((Site.Q, call.q), (Site.K, call.k), *projected, (Site.V_SCALED, call.v)):
            self.activation(layer, site, batch, x, tokens_first)
        self.activation(layer, Site.Y, batch, call.y)
        detached = detached_call(call)
        calls = [detached] if batch.spans is None else [cut(detached, *span) for span in batch.spans]
        values = _of(self.values, layer, ValueStatistics)
        for part in calls:
            values.update(token_norms(part.v).transpose(1, 2))
            if self.valved:
                raw = _of(self.raw_values, layer, ValueStatistics)
                raw.update(token_norms(part.v_raw).transpose(1, 2))
            if part.sink_logits is not None:
                _of(self.learned_sinks, layer, LearnedSinks).update(part, self.settings.sink_window)
        heads = _of(self.heads, layer, HeadStatistics, self.settings)
        covered = heads.update(batch.first, calls, self._entering)
        self._cover_others(layer, batch, calls, covered)
        kv_heads = call.k.shape[1]
        bounds: list[ValueBounds] = []

        def bound_values(grad: Tensor) -> None:
            pieces = [piece for _, piece in batch.pieces(grad)]
            bounds[:] = [
                value_bounds(known.mass, known.second_moment, g, known.columns, kv_heads)
                for g, known in zip(pieces, covered, strict=True)
            ]

        def check_values(grad: Tensor) -> None:
            pieces = batch.pieces(grad.transpose(1, 2))
            for (first, g), known, bound in zip(pieces, covered, bounds, strict=True):
                self._check_values(layer, first, g, known, bound)

        self.watch(call.y, bound_values, batch)
        self.watch(call.v, check_values, batch)

    def passed(self) -> None:
        """Says that the present forward pass has gone through all layers."""
        self._unfilled = ()
        self.gather()

    def gather(self) -> None:
        """Adds the sites that wait for others of their layer: there will be no more of them."""
        if self._waiting is None:
            return
        layer, _, parts = self._waiting
        self._waiting = None
        sites = list(parts)
        for pieces in zip(*parts.values(), strict=True):
            _of(self.sites, layer, LayerSites).add(sites, pieces)

    def together(self, layer: int, site: Site) -> int:
        """Under which layer's number a site is kept: what leaves the last layer comes apart from its sites."""
        return self.layers if site in (Site.H_OUT, Site.FINAL_IN) else layer

    def _wait(self, key: Key, batch: MicroBatch, parts: list[Reduced]) -> None:
        """Keeps what was taken at a site until the next layer, or another forward pass, begins."""
        layer, site = self.together(*key), key[1]
        self._latest = batch
        if self._waiting is not None and (self._waiting[0] != layer or self._waiting[1] is not batch):
            self.gather()
        if self._waiting is None:
            self._waiting = (layer, batch, {})
        self._waiting[2][site] = parts

    def _cover_others(self, layer: int, batch: MicroBatch, calls: list[AttentionCall], covered: list[Covered]) -> None:
        """Takes column sums at the sinks of other passes: of those before, and where some are to be expected, after.

        Where the first sign of late sinks shows in a layer, the layers before it still have what it takes: their q and
        k are held by the graph of this pass.
        """
        last = not self.shared and batch.first + batch.size >= self.first + self.sequences
        if last or self.settings.columns == "all":
            self.heads[layer].follow(calls, covered)
            return
        self._unfilled = (*(one for one in self._unfilled if one[1] is batch), (layer, batch, calls, covered))
        if any(heads.suspected for heads in self.heads.values()):
            for unfilled, _, of_layer, known in self._unfilled:
                self.heads[unfilled].fill(batch.first, of_layer, known)
            self._unfilled = ()
        elif not self.settings.backward:  # nothing else holds them
            self._unfilled = ()

    def routed(self, layer: int, where: Places, routing: Routing, probabilities: Tensor) -> None:
        """Reduces what a router decided; its layer's attention, which finds the sinks, comes before it."""
        routers = _of(self.routing, layer, RoutingStatistics, probabilities.shape[1])
        routers.update(routing, probabilities, groups(where, self.heads[layer].sinks.rows()))

    def expert(self, layer: int, where: Places, part: ExpertPart, experts: int) -> None:
        """Reduces one routed expert's part of a forward pass."""
        _of(self.experts, layer, ExpertStatistics, experts).update(part, where)

    def shared_expert(self, layer: int, where: Places, part: ExpertPart) -> None:
        """Reduces the shared experts' part of a forward pass."""
        _of(self.shared_experts, layer, ExpertStatistics, 1).update(part, where)

    def finite(self) -> tuple[int, Site] | None:
        """The first layer and site, in forward order, whose latest activations were not finite; None if all were.

        The latest are those of all sequences of the pass that activations arrived from last.
        """
        self.gather()
        size = self._latest.size if self._latest is not None else 1
        places = [(layer, site) for layer, statistics in self.sites.items() for site in statistics.sites]
        maxima = [statistics.maxima.rows()[-size:].cpu().isfinite().all(0) for statistics in self.sites.values()]
        latest = torch.cat(maxima)
        if bool(latest.all()):
            return None
        layer, site = places[int(latest.int().argmin())]
        return min(layer, self.layers - 1), site

    def watch(self, x: Tensor, hook: Callable[[Tensor], None], batch: MicroBatch) -> None:
        """Calls `hook` with the gradient of x, where gradients are measured.

        Raises:
            SinkscopeError: from the second backward pass through one graph, whose gradient would count twice.
        """
        if not (self.settings.backward and x.requires_grad):
            return
        arrived: list[bool] = []

        def once(grad: Tensor) -> None:
            if arrived:
                raise SinkscopeError(
                    "a second backward pass through one forward pass: add the losses, and go back once"
                )
            arrived.append(True)
            with self._adding:
                self.without_gradient.discard(batch.first)
                hook(grad)

        x.register_hook(once)

    def _check_values(self, layer: int, first: int, grad: Tensor, known: Covered, bound: ValueBounds) -> None:
        """Equations (11) and (12) for dL/dv [N, T, K, d] of sequences first..first+N-1."""
        measured = token_norms(grad).transpose(1, 2)[..., known.columns]
        for name, limit in zip(("value_mass", "value_moment"), bound, strict=True):
            limit = limit * known.included[:, None]
            self._tally(layer, name, grad.dtype).update(first, known.columns, measured, limit)
        early = int((known.columns <= self.settings.early).sum())
        mass = known.mass[..., :early].unflatten(1, (grad.shape[2], -1)).sum(2)
        squared = measured[..., :early].square()
        _of(self.slopes, layer, SlopeSums).update(first, known.columns[:early], squared, mass.square())

    def _update_modalities(self, key: Key, batch: MicroBatch, x: Tensor) -> None:
        """Reduces the residual stream by kind of token where a layer leaves it, in models that read images."""
        left = (at for at in (key[0] - 1, key[0]) if at >= 0 and key == self.canonical(at, Site.H_OUT))
        layer = next(left, None)
        if layer is None or batch.input_ids is None:
            return
        for (_, piece), (_, ids) in zip(batch.pieces(x), batch.pieces(batch.input_ids), strict=True):
            _of(self.modalities, layer, Modalities).update(piece, kinds(ids, self.image_ids))

    def _gradient_sum(self, kept: dict[Key, GradientSum], key: Key) -> GradientSum:
        return _of(kept, key, GradientSum, listed(self.settings.positions))

    def _tally(self, layer: int, bound: str, dtype: torch.dtype) -> BoundTally:
        return _of(self.bounds, (layer, bound), BoundTally, TOLERANCE[dtype])


def _of(kept: dict[K, S], key: K, make: Callable[..., S], *arguments: Any) -> S:
    """The statistic of a key, made at its first use alone: to make one in vain costs as much as to feed it."""
    if key not in kept:
        kept[key] = make(*arguments)
    return kept[key]


def _times(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor


def tokens_first(x: Tensor) -> Tensor:
    """Heads side by side, without a copy: [B, H, T, d] -> [B, T, H, d]."""
    return x.transpose(1, 2)


def detached_call(call: AttentionCall) -> AttentionCall:
    """The same call without its autograd graph."""
    q, k, v, v_raw, y = (x.detach() for x in (call.q, call.k, call.v, call.v_raw, call.y))
    return replace(call, q=q, k=k, v=v, v_raw=v_raw, y=y)
