"""A finished run's reductions, as the functions that make tables read them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sinkscope.capture.recorder import Recorder
from sinkscope.capture.statistics.layer_sites import SiteStatistics
from sinkscope.capture.statistics.site_statistics import listed
from sinkscope.sites import Site


@dataclass(frozen=True)
class Collected:
    """A finished run's reductions, and what the tables need beside them.

    Attributes:
        recorder: the reductions.
        divisor: what the captured gradients are divided by (the number of targets where sums were backpropagated).
        losses: mean next-token loss of each sequence in nats; empty where the loss is the caller's own.
        targets: how many targets each of these is the mean over; empty where all have equally many.
        token: the name of a token id.
        valves: theta and C of each layer's V-scale, each [K]; empty without V-scale.
    """

    recorder: Recorder
    divisor: float
    losses: list[float]
    targets: list[int]
    token: Callable[[int], str]
    valves: list[tuple[Tensor, Tensor]]

    @property
    def listed(self) -> int:
        """How many early positions have rows, where sequences are that long."""
        return listed(self.recorder.settings.positions)

    def site(self, layer: int, site: Site) -> SiteStatistics:
        """Statistics of the activations at a site."""
        recorder = self.recorder
        layer, canonical = recorder.canonical(layer, site)
        return recorder.sites[recorder.together(layer, canonical)].of(canonical)

    def norms(self, layer: int, site: Site) -> Tensor:
        """Norms of the run's batch-summed gradient at a site, float64 [P]; empty where none arrived."""
        total = self.recorder.gradients.get(self.recorder.canonical(layer, site))
        return torch.zeros(0, dtype=torch.float64) if total is None else total.norms().cpu() / self.divisor

    def sequence_tokens(self) -> list[list[int]]:
        """Token ids of every sequence of the run, padding removed; -1 where only embeddings were passed."""
        tokens: list[list[int]] = []
        for batch, lengths in zip(self.recorder.batches, self._batch_lengths(), strict=True):
            if batch.input_ids is None:
                tokens += [[-1] * length for length in lengths]
            else:
                tokens += [row for _, piece in batch.pieces(batch.input_ids) for row in piece.tolist()]
        return tokens

    def _batch_lengths(self) -> list[list[int]]:
        lengths = iter(next(iter(self.recorder.heads.values())).lengths)
        return [[next(lengths) for _ in range(batch.size)] for batch in self.recorder.batches]
