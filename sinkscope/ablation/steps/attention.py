"""Steps on attention: that to a sink, its value, the heads that attend to it, and a sliding cache."""

import torch

from sinkscope.ablation.settings import CacheName
from sinkscope.ablation.steps.step import Step, Subject, Variation
from sinkscope.interventions.attention import cached, heads_ablated, sinks_hidden, values_zeroed
from sinkscope.models.families import family_of
from sinkscope.models.shape import shape_of
from sinkscope.models.taps.edits import INSIDE, SlidingCache

Heads = dict[int, tuple[int, ...]]


def sink_attention(subject: Subject, what: str, where: str, layers: list[int]) -> Step:
    """The attention of later tokens to the sinks; the controls take it away from other tokens."""

    def variation(positions: tuple[int, ...]) -> Variation:
        return Variation(
            lambda: sinks_hidden(subject.model, positions, renormalized=subject.renormalize, layers=layers)
        )

    sinks = subject.targets.sinks
    kind = ", renormalized" if subject.renormalize else ", not renormalized"
    return Step(what, where + kind, "positions", float(len(sinks)), variation(sinks),
                lambda seed: variation(_others(sinks, subject.tokens, seed)))  # fmt: skip


def sink_value(subject: Subject, what: str, where: str, layers: list[int]) -> Step:
    """The values of the sinks; the controls zero those of other tokens."""

    def variation(positions: tuple[int, ...]) -> Variation:
        return Variation(lambda: values_zeroed(subject.model, positions, layers=layers))

    sinks = subject.targets.sinks
    return Step(what, where, "positions", float(len(sinks)), variation(sinks),
                lambda seed: variation(_others(sinks, subject.tokens, seed)))  # fmt: skip


def sink_heads(subject: Subject, what: str, where: str, layers: list[int]) -> Step:
    """Sink heads as a whole; the controls are as many other heads of each layer, and sink heads where those run out."""
    heads = {layer: found for layer, found in subject.targets.heads.items() if layer in layers}
    count = shape_of(family_of(subject.model), subject.model.config).heads

    def variation(taken: Heads) -> Variation:
        return Variation(lambda: heads_ablated(subject.model, taken))

    def control(seed: int) -> Variation:
        return variation({layer: other_heads(taken, count, seed * 1000 + layer) for layer, taken in heads.items()})

    size = sum(len(taken) for taken in heads.values())
    return Step(what, where, "heads", float(size), variation(heads), control)


def cache(subject: Subject, name: CacheName, positions: str) -> Step:
    """A sliding cache; the controls keep as many tokens of those that follow the first ones in their place.

    Nothing is drawn where no first token is kept, or where positions count inside the cache.
    """

    def variation(kept: tuple[int, ...] | None) -> Variation:
        return Variation(lambda: cached(subject.model, SlidingCache(name.first, name.recent, positions, kept)))

    def control(seed: int) -> Variation:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randperm(name.recent, generator=generator)[: name.first] + name.first
        return variation(tuple(sorted(drawn.tolist())))

    drawable = name.first > 0 and positions != INSIDE and name.recent >= name.first
    return Step(str(name), f"{positions} positions", "first tokens kept", float(name.first), variation(None),
                control if drawable else None, measured=positions != INSIDE)  # fmt: skip


def other_heads(taken: tuple[int, ...], count: int, seed: int) -> tuple[int, ...]:
    """As many heads of a layer, those that are not taken first."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    others = [head for head in order if head not in taken] + [head for head in order if head in taken]
    return tuple(sorted(others[: len(taken)]))


def _others(taken: tuple[int, ...], tokens: int, seed: int) -> tuple[int, ...]:
    """As many other positions of a window."""
    order = torch.randperm(tokens, generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(sorted([position for position in order if position not in taken][: len(taken)]))
