"""Losses of a model whose first layers compute what they computed before: passes that begin at the first changed layer.

    kept = kept_states(model, batches, layers=[3, 7])    # one whole pass
    kept.losses                                          # of that pass
    with probed(model, probe, places=[a module of layer 7]):
        kept.losses_from(model, 7)                       # what a whole pass would give, to the last bit

The states that enter a layer take B T D numbers per batch. Where those of all wanted layers exceed a limit, some are
kept at even distances, and a pass begins at the last one before the change.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.compat.entering_layers import entered_at, watched
from sinkscope.models.families import family_of
from sinkscope.passes.batches import Batch
from sinkscope.passes.losses import loss_sums
from sinkscope.passes.modes import frozen

LIMIT = 2**29
"""Bytes of states that are kept of one pass over all batches."""


@dataclass(frozen=True)
class KeptStates:
    """What entered some layers in a pass over all batches.

    Attributes:
        batches: the windows.
        losses: each sequence's loss, summed over its targets.
        states: by layer, the hidden states [B, T, D] of each batch.
        lengths: by layer, how it returns (`compat.entering_layers`).
    """

    batches: list[Batch]
    losses: list[float]
    states: dict[int, list[Tensor]]
    lengths: list[int | None]

    def start(self, layer: int) -> int:
        """The layer at which a pass begins if `layer` is the first that changed; 0 is the whole pass."""
        return max((number for number in self.states if number <= layer), default=0)

    @torch.no_grad()
    def losses_from(self, model: PreTrainedModel, layer: int) -> list[float]:
        """Each sequence's loss where nothing before `layer` has changed since.

        Args:
            model: the same model.
            layer: the first that changed.
        """
        start = self.start(layer)
        layers = family_of(model).decoder_layers(model)
        sums: list[float] = []
        with frozen(model):
            for number, batch in enumerate(self.batches):
                if start not in self.states:
                    sums += loss_sums(model, batch).tolist()
                    continue
                with entered_at(layers, start, self.states[start][number], self.lengths):
                    sums += loss_sums(model, batch).tolist()
        return sums


@torch.no_grad()
def kept_states(model: PreTrainedModel, batches: list[Batch], layers: Iterable[int], limit: int = LIMIT) -> KeptStates:
    """Runs a model and keeps what enters some of its layers.

    Args:
        model: a causal LM of a known family.
        batches: windows of text.
        layers: those that passes shall begin at; layer 0 is left out, as that is a whole pass.
        limit: bytes.

    Returns:
        The states: of no layer where the model cannot be entered at one, so that every pass is a whole one.
    """
    modules = family_of(model).decoder_layers(model)
    states: dict[int, list[Tensor]] = {}
    lengths: list[int | None] = [None] * len(modules)
    wanted = sorted(set(layers) - {0})
    seen: set[int] = set()

    def note(number: int, hidden: Tensor | None, length: int | None) -> None:
        lengths[number] = length
        if hidden is not None and number not in seen:
            seen.add(number)
            if number in kept:
                states.setdefault(number, []).append(hidden.detach().clone())

    losses: list[float] = []
    kept = _affordable(model, batches, wanted, limit)
    with frozen(model), watched(modules, note):
        for batch in batches:
            seen.clear()
            losses += loss_sums(model, batch).tolist()
            if seen != set(range(len(modules))):  # a layer is not called, or is given its states otherwise
                kept = set()
    found = KeptStates(batches, losses, states if kept else {}, lengths)
    return found if _same(model, found) else KeptStates(batches, losses, {}, lengths)


def _affordable(model: PreTrainedModel, batches: list[Batch], wanted: list[int], limit: int) -> set[int]:
    """As many of the wanted layers as the limit allows, at even distances."""
    width = int(model.config.get_text_config().hidden_size)
    each = sum(batch.input_ids.numel() for batch in batches) * width * model.dtype.itemsize
    count = min(len(wanted), limit // each)
    return {wanted[len(wanted) * number // count] for number in range(count)} if count else set()


def _same(model: PreTrainedModel, kept: KeptStates) -> bool:
    """Whether passes that begin at the first and last kept layers give the losses of the whole pass."""
    layers = family_of(model).decoder_layers(model)
    tried = sorted(kept.states)
    whole = torch.tensor(kept.losses[: len(kept.batches[0].input_ids)])
    with frozen(model):
        for number in {*tried[:1], *tried[-1:]}:
            with entered_at(layers, number, kept.states[number][0], kept.lengths):
                try:
                    again = loss_sums(model, kept.batches[0]).cpu()
                except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                    return False
            if not torch.allclose(again, whole, rtol=1e-6, atol=0, equal_nan=True):
                return False
    return True
