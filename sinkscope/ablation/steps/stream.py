"""Steps on the residual stream: massive activations to zero or to their mean, and their channels as a whole."""

from collections.abc import Callable, Iterable

from sinkscope.ablation.steps.step import Step, Subject, Variation
from sinkscope.ablation.targets import MassiveChannels
from sinkscope.interventions.hidden import LargeEntries, Tally, channels_zeroed, entries_replaced, other_channels

Places = dict[int, MassiveChannels]


def massive(subject: Subject, what: str, where: str, places: Places, *, to_mean: bool) -> Step:
    """Massive entries to zero, or to their mean over the run."""
    layers = {
        layer: LargeEntries(found.channels, found.threshold, tuple(found.means.values()) if to_mean else None)
        for layer, found in places.items()
    }

    def variation(seed: int | None) -> Variation:
        tally = Tally()
        return Variation(lambda: entries_replaced(subject.model, layers, moved=seed, tally=tally), tally=tally)

    return Step(what, where, "entries per sequence", None, variation(None), variation)


def channels(subject: Subject, what: str, where: str, places: Places) -> Step:
    """Massive channels to zero for all tokens."""
    taken = {layer: found.channels for layer, found in places.items()}
    hidden_size = int(subject.model.config.get_text_config().hidden_size)

    def variation(layers: dict[int, tuple[int, ...]]) -> Variation:
        return Variation(lambda: channels_zeroed(subject.model, layers))

    def control(seed: int) -> Variation:
        every = tuple(sorted({channel for of_layer in taken.values() for channel in of_layer}))
        other = dict(zip(every, other_channels(every, hidden_size, seed), strict=False))  # the same in all layers
        return variation({layer: tuple(other[c] for c in of_layer if c in other) for layer, of_layer in taken.items()})

    size = sum(len(of_layer) for of_layer in taken.values())
    return Step(what, where, "channels", float(size), variation(taken), control)


def chosen(places: Places, layers: Iterable[int] | None) -> Places:
    """The places in some layers alone; all for None."""
    return places if layers is None else {layer: found for layer, found in places.items() if layer in set(layers)}


MAKERS: dict[str, Callable[[Subject, str, str, Places], Step]] = {
    "massive-zero": lambda subject, what, where, places: massive(subject, what, where, places, to_mean=False),
    "massive-mean": lambda subject, what, where, places: massive(subject, what, where, places, to_mean=True),
    "channel-zero": channels,
}
"""By name: a step from its name, its place in words, and its layers."""
