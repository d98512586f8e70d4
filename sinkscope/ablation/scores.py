"""What a model loses: losses and next-token distributions of the same tokens, with and without something taken away.

    loss of a token   -log p(token | what stands before it) KL of a token     sum over the vocabulary of p log(p / q),
    p the untouched model's distribution there, q the other one

A token is compared where its predecessor in the window is the same in both: a text that lost its first token leaves
out what now stands first. Everything is kept as sums over bins of positions, by sequence, of which intervals are
made.

Shapes: N windows of T tokens, B of them at a time, S bins of positions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from sinkscope.ablation.steps.step import Reading, Variation, as_it_is
from sinkscope.models.families import family_of
from sinkscope.passes.losses import cross_entropy
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.passes.modes import frozen, input_device
from sinkscope.passes.output_head import chunks_of_logits
from sinkscope.progress.display import counted

BINS = 16

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Sums over the compared tokens, by sequence and bin of positions [N, S].

    Attributes:
        loss: with something taken away, in nats.
        exact: of the untouched model, on the same tokens.
        kl: Kullback-Leibler divergence from the untouched model, in nats.
        targets: how many tokens.
    """

    loss: Array
    exact: Array
    kl: Array
    targets: Array

    def as_json(self) -> dict[str, Any]:
        """The sums, JSON-serializable."""
        return {name: getattr(self, name).tolist() for name in ("loss", "exact", "kl", "targets")}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Scores":
        """What `as_json` made."""
        return cls(**{name: np.asarray(value, dtype=np.float64) for name, value in values.items()})


class Untouched:
    """The untouched model on some windows: its last hidden states and its losses, held on the CPU.

    Args:
        model: a causal LM.
        input_ids: windows [N, T].
        batch_size: windows per forward pass.

    Attributes:
        input_ids: the windows.
        losses: of every token but the first [N, T - 1], float32.
        edges: ends of the bins of positions [S + 1]; the token at t is in bin s where edges[s] <= t < edges[s + 1].
    """

    def __init__(self, model: PreTrainedModel, input_ids: Tensor, batch_size: int) -> None:
        self._model, self._batch_size = model, batch_size
        self.input_ids = input_ids
        self._unit = "sequence" if batch_size == 1 else "pass"
        tokens = input_ids.shape[1]
        self.edges = np.unique(np.linspace(1, tokens, min(BINS, tokens - 1) + 1).round().astype(int))
        hidden, losses = [], []
        with frozen(model), torch.no_grad(), explained_memory_errors(batch_size):
            for ids in counted(input_ids.split(batch_size), f"untouched: {self._unit}"):
                last = _last_hidden(model, ids)
                chunks = chunks_of_logits(model, [last[:, :-1]], ids[:, :-1])
                losses.append(torch.cat([_losses(*chunk, ids[:, 1:]) for chunk in chunks], dim=1))
                hidden.append(last.cpu())
        self._hidden, self.losses = torch.cat(hidden), torch.cat(losses)

    def scores(self) -> Scores:
        """The untouched model against itself."""
        reading = as_it_is(self.input_ids)
        return self._sums(reading, self.losses, torch.zeros_like(self.losses))

    def against(self, variation: Variation, title: str) -> Scores:
        """A variation of the model, or of its text, against the untouched one.

        Args:
            variation: what is taken away.
            title: of the stage.
        """
        model, reading = self._model, variation.read(self.input_ids)
        losses, divergences = [], []
        before, _ = _compared(reading)
        count = len(self.input_ids)
        starts = range(0, count, self._batch_size)
        with frozen(model), torch.no_grad(), explained_memory_errors(self._batch_size), variation.enter():
            for start in counted(starts, f"{title}: {self._unit}"):
                rows = slice(start, start + self._batch_size)
                ids = reading.input_ids[rows]
                last = _last_hidden(model, ids)[:, before.to(input_device(model))]
                exact = self._hidden[rows][:, reading.origin[before]].to(last.device)
                of_batch = [_both(chunk, ids[:, before + 1]) for chunk in chunks_of_logits(model, [last, exact], ids)]
                losses.append(torch.cat([one for one, _ in of_batch], dim=1))
                divergences.append(torch.cat([kl for _, kl in of_batch], dim=1))
        return self._sums(reading, torch.cat(losses), torch.cat(divergences))

    def _sums(self, reading: Reading, losses: Tensor, divergences: Tensor) -> Scores:
        _, target = _compared(reading)
        exact = self.losses[:, target - 1]
        bins = torch.from_numpy(np.searchsorted(self.edges, target.numpy(), side="right") - 1)
        bins = bins.clamp(max=len(self.edges) - 2)

        def summed(x: Tensor) -> Array:
            sums = torch.zeros(len(x), len(self.edges) - 1, dtype=torch.float64)
            return sums.index_add_(1, bins, x.double()).numpy()

        return Scores(summed(losses), summed(exact), summed(divergences), summed(torch.ones_like(losses)))


def _compared(reading: Reading) -> tuple[Tensor, Tensor]:
    """Places whose next token is compared, and that token's place in the windows."""
    here, following = reading.origin[:-1], reading.origin[1:]
    places = ((following == here + 1) & (here >= 0)).nonzero().flatten()
    return places, following[places]


def _last_hidden(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Hidden states behind the final norm [B, T, D]."""
    decoder = family_of(model).decoder(model)
    hidden: Tensor = decoder(input_ids=ids.to(input_device(model)), use_cache=False).last_hidden_state
    return hidden


def _losses(places: slice, logits: list[Tensor], targets: Tensor) -> Tensor:
    wanted = targets[:, places]
    return cross_entropy(logits[0].flatten(0, 1), wanted.flatten()).view(wanted.shape).cpu()


def _both(chunk: tuple[slice, list[Tensor]], targets: Tensor) -> tuple[Tensor, Tensor]:
    """Losses, and divergences from the second logits, of a chunk [B, t]."""
    places, (logits, exact) = chunk
    q, p = F.log_softmax(logits.float(), dim=-1), F.log_softmax(exact.float(), dim=-1)
    wanted = targets[:, places].to(q.device)
    losses = -q.gather(-1, wanted[..., None])[..., 0]
    return losses.cpu(), (p.exp() * (p - q)).sum(-1).clamp(min=0).cpu()
