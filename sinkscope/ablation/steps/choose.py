"""From names of interventions to steps, and what to say where there is nothing to take away."""

from sinkscope.ablation import settings as names
from sinkscope.ablation.settings import AblationSettings, CacheName, named
from sinkscope.ablation.steps import attention, stream, weights
from sinkscope.ablation.steps.first_token import first_token
from sinkscope.ablation.steps.step import Step, Subject
from sinkscope.ablation.targets import MassiveChannels
from sinkscope.errors import RequestError
from sinkscope.interventions.attention import cached, checked_layers
from sinkscope.models.taps.edits import INSIDE, SlidingCache

_OF_SINKS = {
    names.SINK_ATTENTION: attention.sink_attention,
    names.SINK_VALUE: attention.sink_value,
    names.SINK_HEADS: attention.sink_heads,
}


class Chosen:
    """The steps of a request.

    Args:
        subject: what they act on.
        settings: the request's.

    Attributes:
        steps: in the order of the request.
        notes: why a name has none.
    """

    def __init__(self, subject: Subject, settings: AblationSettings) -> None:
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self._subject, self._settings = subject, settings
        self._everywhere = checked_layers(subject.model, None)
        if settings.layers is not None:
            checked_layers(subject.model, settings.layers)
        asked = named(settings.what)
        self._every = names.ALL in asked
        for name in wanted(settings, subject.tokens):
            self._add(name)

    def _add(self, name: str | CacheName) -> None:
        if isinstance(name, CacheName):
            self._add_cache(name)
        elif name == names.FIRST_TOKEN:
            self.steps += first_token(self._subject, name)
        elif name == names.SUPER_WEIGHTS:
            self._add_super_weights(name)
        elif name in _OF_SINKS:
            self._add_sinks(name)
        else:
            self._add_stream(name)

    def _add_stream(self, name: str) -> None:
        targets, settings = self._subject.targets, self._settings
        if not targets.massive:
            self.notes.append(f"{name}: no massive activation in the residual stream, by the test of equation (5)")
            return
        make = stream.MAKERS[name]
        for where in settings.where:
            all_places = targets.first if where == names.FIRST else targets.massive
            places = stream.chosen(all_places, settings.layers)
            if not places:
                self.notes.append(f"{name}, {where}: none in the layers that `layers` names")
                continue
            words = f"{where}: {_layers(places)}"
            self.steps.append(make(self._subject, name, words, places))
        if settings.by_layer:
            for layer, found in stream.chosen(targets.massive, settings.layers).items():
                self.steps.append(make(self._subject, name, _layer(layer), {layer: found}))

    def _add_super_weights(self, name: str) -> None:
        found = [weight.at for weight in self._subject.super_weights]
        if self._settings.layers is not None:
            found = [at for at in found if at.layer in self._settings.layers]
        if not found:
            self.notes.append(f"{name}: no spike of a down projection's input and output at one token")
            return
        if any(weight.value != weight.value for weight in self._subject.super_weights):  # NaN: packed
            self.notes.append(f"{name}: the weights are stored packed, and single ones cannot be set")
            return
        places: dict[int, MassiveChannels] = {at.layer: MassiveChannels({}, 0.0) for at in found}
        self.steps.append(weights.super_weights(self._subject, name, _layers(places), found))
        if self._settings.by_layer and len(places) > 1:
            self.steps += [weights.super_weights(self._subject, name, _layer(at.layer), [at]) for at in found]

    def _add_sinks(self, name: str) -> None:
        targets, settings = self._subject.targets, self._settings
        layers = [layer for layer in self._everywhere if settings.layers is None or layer in settings.layers]
        if name == names.SINK_HEADS:
            layers = [layer for layer in layers if layer in targets.heads]
        if not targets.sinks or not layers:
            self.notes.append(f"{name}: no position is a sink in half of the sequences, in these layers")
            return
        make = _OF_SINKS[name]
        every = len(layers) == len(self._everywhere)
        words = "all layers" if every else _layers(dict.fromkeys(layers))
        self.steps.append(make(self._subject, name, words, layers))
        if settings.by_layer:
            self.steps += [make(self._subject, name, _layer(layer), [layer]) for layer in layers]

    def _add_cache(self, name: CacheName) -> None:
        if name.first + name.recent >= self._subject.tokens:
            self.notes.append(f"{name}: nothing leaves a cache of that size in {self._subject.tokens} tokens")
            return
        kinds = self._settings.cache_positions if name.first else self._settings.cache_positions[:1]  # both are one
        for positions in kinds:
            try:
                if positions == INSIDE:
                    with cached(self._subject.model, SlidingCache(name.first, name.recent, INSIDE)):
                        pass
            except RequestError as error:
                if not self._every:
                    raise
                self.notes.append(f"{name}: {error}")
                continue
            self.steps.append(attention.cache(self._subject, name, positions))


def wanted(settings: AblationSettings, tokens: int) -> list[str | CacheName]:
    """The interventions that a request names, `all` spelled out, each once."""
    found: list[str | CacheName] = []
    for name in named(settings.what):
        if name == names.ALL:
            size = max(tokens // 4, 2)
            caches = [CacheName(first, size - first) for first in names.KEPT if first < size]
            found += [*names.NAMES, *caches]
        else:
            found.append(name)
    return list(dict.fromkeys(found))


def _layer(layer: int) -> str:
    return f"layer {layer} alone"


def _layers(places: dict[int, MassiveChannels] | dict[int, None]) -> str:
    layers = sorted(places)
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layers {', '.join(map(str, layers[:-1]))} and {layers[-1]}" if len(layers) < 6 else f"{len(layers)} layers"
