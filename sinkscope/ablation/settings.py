"""What an ablation is asked for: what to take away, where that is read, the controls, what is measured after each."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypedDict

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows

MASSIVE_ZERO, MASSIVE_MEAN, CHANNEL_ZERO = "massive-zero", "massive-mean", "channel-zero"
SUPER_WEIGHTS = "super-weights"
SINK_ATTENTION, SINK_VALUE, SINK_HEADS = "sink-attention", "sink-value", "sink-heads"
FIRST_TOKEN = "first-token"  # noqa: S105  (no password)
NAMES = (
    MASSIVE_ZERO, MASSIVE_MEAN, CHANNEL_ZERO, SUPER_WEIGHTS, SINK_ATTENTION, SINK_VALUE, SINK_HEADS, FIRST_TOKEN,
)  # fmt: skip
"""Interventions by name, but for the caches."""
ALL, CACHE = "all", "cache:"
KEPT = (0, 1, 2, 4, 8)
"""First tokens that the caches of `all` keep; each is a quarter of the sequence in all."""
FIRST, EVERYWHERE = "first", "everywhere"
ORIGINAL, INSIDE = "original", "cache"
_CACHE = re.compile(r"cache:(\d+)\+(\d+)")


class CacheName(NamedTuple):
    """A sliding cache as it is asked for: N first tokens kept, and K recent ones."""

    first: int
    recent: int

    def __str__(self) -> str:
        return f"{CACHE}{self.first}+{self.recent}"


@dataclass(frozen=True)
class AblationSettings:
    """Options of an ablation.

    Attributes:
        what: names of interventions, `cache:N+K` among them; `all` are those that apply.
        run: a run of `analyze` on the same model that says where outliers are; None measures first.
        where: where massive activations and their channels are taken away: at the layer where each channel's first
            appear, or everywhere that the run lists some.
        layers: act in these layers alone; None is all that the run names.
        by_layer: measure each intervention in every one of its layers alone, too.
        renormalize: whether the rest of a row sums to 1 again when the attention to a sink is taken away.
        cache_positions: how positions count under a sliding cache.
        draws: controls of the same size per intervention.
        measured: sequences that the headline quantities are measured on again; 0 leaves them out.
        backward: whether gradients are among them.
        margin: perplexities whose ratio lies within 1/margin .. margin count as the same.
        needles: whether needles in a haystack are asked for, after each intervention and its first control.
        lengths: context lengths of the needles; None is the length of the sequences.
        seeds: needles per length and depth.
        seed: of the controls, the needles and the bootstrap.
        stream: refused: the model is held in memory.
    """

    what: tuple[str, ...] = described(
        (ALL,),
        f"What to take away, by commas: all, {', '.join(NAMES)}, cache:N+K (N first tokens kept, K recent ones).",
        Section.ABLATION,
        values="LIST",
    )
    run: Path | None = described(
        None, "A run of analyze on this model; by default it is measured first.", Section.ABLATION, option="from",
        values="RUN",
    )  # fmt: skip
    where: tuple[str, ...] = described(
        (FIRST,), "Where massive activations are taken away: where they first appear, everywhere, or both in turn.",
        Section.ABLATION, values="first,everywhere",
    )  # fmt: skip
    layers: tuple[int, ...] | None = described(
        None, "Act in these layers alone; by default all that the run names.", Section.ABLATION, values="N,N,..."
    )
    by_layer: bool = described(False, "Measure each of its layers alone, too.", Section.ABLATION)
    renormalize: bool = described(
        True, "Leave rows as they are where the attention to a sink is taken away.", Section.ABLATION, only_off=True
    )
    cache_positions: tuple[str, ...] = described(
        (ORIGINAL,), "How positions count under cache:N+K: as in the text, inside the cache, or both in turn.",
        Section.ABLATION, values="original,cache",
    )  # fmt: skip
    draws: int = described(5, "Controls of the same size per intervention.", Section.ABLATION)
    measured: int = described(
        4, "Sequences that the headline quantities are measured on again; 0: none.", Section.ABLATION
    )
    backward: bool = described(True, "Measure no gradients.", Section.ABLATION, only_off=True)
    margin: float = described(1.05, "Perplexities within this ratio of each other count as the same.", Section.ABLATION)
    needles: bool = described(False, "Ask for needles in a haystack, too.", Section.NEEDLES)
    lengths: tuple[int, ...] | None = described(
        None, "Context lengths of the needles; by default that of the sequences.", Section.NEEDLES, values="N,N,..."
    )
    seeds: int = described(2, "Needles per length and depth.", Section.NEEDLES)
    seed: int = described(0, "Seed of controls, needles and bootstrap.", Section.OUTPUT)
    stream: bool = described(
        False, "Refused: an ablation holds the model in memory.", Section.MODEL, before="trust_remote_code"
    )

    def __post_init__(self) -> None:
        checks = {
            "`what` names nothing to take away": bool(self.what),
            f"`where` is {FIRST}, {EVERYWHERE} or both": bool(self.where) and set(self.where) <= {FIRST, EVERYWHERE},
            f"`cache_positions` is {ORIGINAL}, {INSIDE} or both": bool(self.cache_positions)
            and set(self.cache_positions) <= {ORIGINAL, INSIDE},
            "`draws` must be at least 1: nothing is shown without its control": self.draws >= 1,
            "`measured` must be at least 0": self.measured >= 0,
            "`margin` must be above 1": self.margin > 1,
            "`lengths` must be positive": self.lengths is None or all(length > 0 for length in self.lengths),
            "`lengths` is empty": self.lengths is None or len(self.lengths) > 0,
            "`lengths` is for `needles`": self.lengths is None or self.needles,
            "`seeds` must be at least 1": self.seeds >= 1,
            "`seed` must be from 0 to 2^32 - 1": 0 <= self.seed < 2**32,
            "`layers` is empty": self.layers is None or len(self.layers) > 0,
            "`stream` holds one layer at a time, and an ablation runs the whole model many times: leave it out": (
                not self.stream
            ),
        }
        for complaint, holds in checks.items():
            if not holds:
                raise RequestError(complaint)
        named(self.what)


def named(what: tuple[str, ...]) -> list[str | CacheName]:
    """The interventions that names stand for, in order; `all` stays as it is.

    Raises:
        RequestError: for an unknown name, listing those that there are.
    """
    found: list[str | CacheName] = []
    for name in what:
        cache = _CACHE.fullmatch(name)
        if cache is None and name not in (ALL, *NAMES):
            raise RequestError(f"`what` knows {ALL}, {', '.join(NAMES)} and {CACHE}N+K, not '{name}'")
        if cache is not None and int(cache[2]) < 1:
            raise RequestError(
                f"'{name}' keeps no recent token, not even the one that asks: `what=cache:N+K` with K >= 1"
            )
        found.append(name if cache is None else CacheName(int(cache[1]), int(cache[2])))
    return found


class AblationFields(TypedDict, total=False):
    """The fields of `AblationSettings` but `what` and `run`, as keyword arguments."""

    where: tuple[str, ...]
    layers: tuple[int, ...] | None
    by_layer: bool
    renormalize: bool
    cache_positions: tuple[str, ...]
    draws: int
    measured: int
    backward: bool
    margin: float
    needles: bool
    lengths: tuple[int, ...] | None
    seeds: int
    seed: int


@dataclass(frozen=True)
class AblationRequest:
    """An ablation of a model by name.

    Attributes:
        model: the model.
        method: how the quantization method that it names is put on it.
        text: what it reads.
        windows: in which pieces.
        haystack: a source of text, as `text.data` is, that hides the needles.
        settings: what is taken away, and what is measured.
        output: where the run is going to be saved; what is measured so far is kept beside it.
    """

    model: ModelSource = field(default_factory=ModelSource)
    method: MethodOptions = field(default_factory=MethodOptions, kw_only=True)
    text: TextSource = field(default_factory=TextSource)
    windows: Windows = field(default_factory=Windows)
    haystack: str = "stdlib"
    settings: AblationSettings = field(default_factory=AblationSettings)
    output: Output = field(default_factory=Output)
