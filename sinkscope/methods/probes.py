"""The probes: a model whose linear modules compute on quantized weights and activations.

A probe puts a quantized copy in the place of each weight, and a hook before the module that hands it a quantized copy
of its input. Inputs are never changed in place: the same tensor may feed several modules and the residual stream.

`probed` does so for the length of a block. Leaving puts the very same parameters back, so that the model is
bit-identical to before, also after an exception; meanwhile the weights' memory doubles. `probe_` does so for good, on a
model that was loaded for that, and lets go of each weight as it is rounded.

What is simulated is the arithmetic on rounded values, not an integer kernel; sums run in the model's dtype. Gradients
pass a rounded weight exactly, and a rounded input straight through (`rounding`). How a tensor is rounded is in
`formats`, and what the names mean in `grammar`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.compat.tensor_versions import version_of
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.methods.formats.rounding import rounded
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.grammar import Rounding, parse
from sinkscope.methods.linear_modules import Place, down_pattern, linears


@dataclass(frozen=True)
class Probe(Rounding):
    """What a name of the grammar says of linear maps, put on a model."""

    @property
    def weight_bits(self) -> int | None:
        """Bits of the weights, without their share of scales; None leaves weights alone."""
        return None if self.weights is None else self.weights.bits

    @property
    def activation_bits(self) -> int | None:
        """Bits of the activations; None leaves them alone."""
        return None if self.inputs is None else self.inputs.bits

    @property
    def static(self) -> bool:
        """Whether activations have one calibrated scale per tensor (MinMax)."""
        return self.inputs is not None and self.inputs.calibrated

    @property
    def calibrates(self) -> bool:
        """Whether it needs to know the largest inputs before."""
        return self.static

    @property
    def granularity(self) -> str:
        """The scales in words."""
        weights = None if self.weights is None else self.weights.words
        inputs = None if self.inputs is None else self.inputs.words
        both = weights if weights == inputs else None
        parts = (
            both and f"W and A {both}",
            weights and not both and f"W {weights}",
            inputs and not both and f"A {inputs}",
            self.down and "down_proj only",
            self.mixed and self.inputs and f"{_by_token(self.inputs).words} at down_proj",
        )
        return ", ".join(part for part in parts if part)

    def parts(self) -> "dict[str, Probe]":
        """The probe with weights only, activations only, and both."""
        return {
            "weights": replace(self, inputs=None, mixed=False),
            "activations": replace(self, weights=None),
            "both": self,
        }

    def inputs_of(self, place: Place) -> Side | None:
        """How the inputs of a module are rounded; None leaves them alone."""
        return _by_token(self.inputs) if self.mixed and self.inputs is not None and place.down else self.inputs

    def places(self, model: PreTrainedModel, pattern: str | None = None) -> list[Place]:
        """The modules that the probe quantizes: all, or its down projections, of those that `pattern` selects.

        Raises:
            SinkscopeError: if there are none, or the model cannot be probed.
        """
        chosen = linears(model, pattern)
        if self.down or self.mixed:
            of_down, name = [place for place in chosen if place.down], down_pattern(model)
            if not of_down:
                raise RequestError(f"the pattern {pattern} selects no {name}")
            chosen = of_down if self.down else chosen
        for side in (self.weights, self.inputs):
            if side is not None and side.block is not None:
                _refuse_uneven(chosen, side.block)
        return chosen


@dataclass(frozen=True)
class CalibratedProbe:
    """A probe made ready for one model: its modules are known, and the largest input of each.

    Attributes:
        name: the probe's name.
        probe: what it rounds.
        places: the modules that it quantizes.
        calibration: the largest |x| by module name.
    """

    name: str
    probe: Probe
    places: list[Place]
    calibration: dict[str, float]

    def entered(
        self, model: PreTrainedModel, places: list[Place] | None = None
    ) -> AbstractContextManager[PreTrainedModel]:
        """The model with the probe on all its modules, or on `places` alone."""
        return probed(model, self.probe, self.calibration, self.places if places is None else places)

    def entered_whole(self) -> "AbstractContextManager[Probing]":
        """The probe on all its modules, to be lifted from single ones: their weights are rounded once."""
        return _probing(self.probe, self.calibration, self.places)


def parse_probe(name: str) -> Probe | None:
    """A probe by its name, as `w8a8-static-down`; None where the name is none of the grammar's, or the cache's."""
    found = parse(name)
    return Probe(found.weights, found.inputs, found.down, found.mixed) if isinstance(found, Rounding) else None


def _by_token(side: Side) -> Side:
    """The same values under a scale per token."""
    return replace(side, scope=Scope.TOKEN, calibrated=False)


def _refuse_uneven(places: list[Place], block: int) -> None:
    """Refuses blocks that do not fill the inputs of every module."""
    for place in places:
        width = place.module.in_features
        if width % block:
            raise RequestError(
                f"blocks of {block} do not divide the {width} inputs of {place.name}: choose a group that does, or "
                "select other modules by `modules`"
            )


@contextmanager
def probed(
    model: PreTrainedModel, probe: Probe, calibration: dict[str, float] | None = None, places: list[Place] | None = None
) -> Iterator[PreTrainedModel]:
    """Quantizes a model for the length of a `with` block.

    Args:
        model: a causal LM of a known family with full-precision weights.
        probe: what to round.
        calibration: `calibration.calibrate` of the modules, which static activations need.
        places: the modules; by default `probe.places(model)`.

    Raises:
        SinkscopeError: if a static probe has no calibration of a module, or the model cannot be probed.
    """
    with _probing(probe, calibration or {}, probe.places(model) if places is None else places):
        yield model


def probe_(
    model: PreTrainedModel, probe: Probe, calibration: dict[str, float] | None = None, places: list[Place] | None = None
) -> PreTrainedModel:
    """Quantizes a model in place, for good.

    Args:
        model: as of `probed`.
        probe: what to round.
        calibration: as of `probed`.
        places: as of `probed`.

    Returns:
        The same model.

    Raises:
        SinkscopeError: as `probed` does, before anything is changed.
    """
    places = probe.places(model) if places is None else places
    largest, last = _largest(probe, calibration or {}, places), _Last()
    for place in places:
        _put_(place, probe, largest.get(place.name), last)
    return model


def _largest(probe: Probe, calibration: dict[str, float], places: list[Place]) -> dict[str, float]:
    """The calibrated largest |x| by module name, of those whose activations are static."""
    sides = {place.name: probe.inputs_of(place) for place in places}
    static = [name for name, side in sides.items() if side is not None and side.calibrated]
    missing = [name for name in static if name not in calibration]
    if missing:
        raise SinkscopeError(f"static activations need a calibration, and {missing[0]} has none")
    return {name: calibration[name] for name in static}


class Probing:
    """A probe on modules, which can be lifted from one of them for a while."""

    def __init__(self, probe: Probe, calibration: dict[str, float]) -> None:
        self._probe, self._calibration, self._last = probe, calibration, _Last()
        self._originals: dict[str, tuple[nn.Linear, Any]] = {}
        self._handles: dict[str, list[Any]] = {}

    def put(self, place: Place) -> None:
        """Rounds a module's weight, and its inputs from now on."""
        self._originals[place.name] = (place.module, place.module.weight)
        self._handles[place.name] = _put_(place, self._probe, self._calibration.get(place.name), self._last)

    @contextmanager
    def lifted(self, place: Place) -> Iterator[None]:
        """The module of a place as it was, while entered."""
        rounded_weight = place.module.weight
        self._remove(place.name)
        place.module.weight = self._originals[place.name][1]
        try:
            yield
        finally:
            place.module.weight = rounded_weight
            side = self._probe.inputs_of(place)
            if side is not None:
                hook = _rounder(side, self._calibration.get(place.name), self._last)
                self._handles[place.name] = [place.module.register_forward_pre_hook(hook)]

    def end(self) -> None:
        """Puts back all that was there."""
        for name, (module, weight) in self._originals.items():
            self._remove(name)
            module.weight = weight

    def _remove(self, name: str) -> None:
        for handle in self._handles.pop(name, ()):
            handle.remove()


@contextmanager
def _probing(probe: Probe, calibration: dict[str, float], places: list[Place]) -> Iterator[Probing]:
    probing = Probing(probe, _largest(probe, calibration, places))
    try:
        for place in places:
            probing.put(place)
        yield probing
    finally:
        probing.end()


class _Last:
    """The last input that was rounded, and what it became: q, k and v, or gate and up, read one tensor.

    Without gradients alone, so that no gradient is summed in another order. The tensor is held, so that no other one
    can take its place in memory, and its version counts changes in place.
    """

    def __init__(self) -> None:
        self._of: tuple[Tensor, int, Side, float | None] | None = None
        self._rounded: Tensor | None = None

    def rounded(self, x: Tensor, side: Side, absmax: float | None) -> Tensor:
        """The input rounded, anew where it is another one."""
        version = None if torch.is_grad_enabled() else version_of(x)
        if version is None:
            return rounded(x, side, absmax)
        of = self._of
        if self._rounded is None or of is None or of[0] is not x or of[1:] != (version, side, absmax):
            self._of, self._rounded = (x, version, side, absmax), rounded(x, side, absmax)
        return self._rounded


def _put_(place: Place, probe: Probe, absmax: float | None, last: _Last) -> list[Any]:
    """Rounds a module's weight and, by hooks that are returned, its inputs."""
    module, side = place.module, probe.inputs_of(place)
    if probe.weights is not None:
        module.weight = _rounded_weight(module.weight, probe.weights)
    return [] if side is None else [module.register_forward_pre_hook(_rounder(side, absmax, last))]


@torch.no_grad()
def _rounded_weight(weight: Tensor, side: Side) -> nn.Parameter:
    return nn.Parameter(rounded(weight, side), requires_grad=False)


def _rounder(side: Side, absmax: float | None, last: _Last) -> Any:
    """A forward pre-hook that rounds a module's input, by a fixed scale or by each token's own."""

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (last.rounded(inputs[0], side, absmax), *inputs[1:])

    return hook
