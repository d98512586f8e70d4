"""`clip`: static scales that leave out the largest values, instead of MinMax.

MinMax lets the single largest |x| of the calibration set the scale of a module. `clip` takes the range with the
smallest mean squared error of the rounded inputs, out of the MinMax range times 2^(-i/2); `clip-99.9` takes
the 99.9th percentile of |x|. Values beyond the range are clamped. Formats whose scales follow each token have no such
range.

The error is taken for whatever a format does: its own rounding of inputs is put on the model, what it made of an
input is looked at, and the module computes on the exact input all the same, so that noise of one layer does not reach
the next.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.methods.linear_modules import Place
from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.methods.read_inputs import read_inputs
from sinkscope.mitigations.hidden import last_hidden
from sinkscope.mitigations.mitigation import Kind, Mitigation, Subject
from sinkscope.passes.batches import Batch
from sinkscope.progress.display import counted

FACTORS = tuple(2.0 ** (-index / 2) for index in range(14))


@dataclass(frozen=True)
class Clip(Mitigation):
    """Other ranges; `percentile` is None where the squared error chooses them."""

    percentile: float | None = None

    order: ClassVar[int] = 2

    def passes(self, probes: int) -> int:
        """One per probe, and factor that is tried."""
        return probes * (len(FACTORS) if self.percentile is None else 1)

    def applies_to(self, probe: Probe) -> bool:
        """Whether the probe has static scales."""
        return probe.calibrates

    def ready(self, subject: Subject, calibrated: CalibratedProbe) -> tuple[CalibratedProbe, str]:
        """The probe with its ranges chosen."""
        if self.percentile is not None:
            ranges = percentiles(subject.model, calibrated.places, subject.some, self.percentile)
            chose = f"{self.percentile:g}th percentile"
        else:
            ranges = least_squared_error(subject.model, calibrated, subject.some)
            clipped = sum(ranges[place.name] < calibrated.calibration[place.name] for place in calibrated.places)
            chose = f"{clipped} of {len(calibrated.places)} modules clipped"
        return replace(calibrated, calibration={**calibrated.calibration, **ranges}), chose


@torch.no_grad()
def percentiles(
    model: PreTrainedModel, places: list[Place], batches: list[Batch], percentile: float
) -> dict[str, float]:
    """The percentile of |x| at the input of each module: the smallest of its values with so many at or below it.

    Only as many of the largest values as can matter are held.
    """
    tokens = sum(batch.input_ids.numel() for batch in batches)
    largest: dict[str, Tensor] = {}
    counts = dict.fromkeys((place.name for place in places), 0)

    def look(place: Place) -> Callable[[Tensor], None]:
        held = _above(tokens * place.module.in_features, percentile) + 1

        def at(x: Tensor) -> None:
            values = x.abs().float().flatten()
            counts[place.name] += values.numel()
            values = torch.cat([largest[place.name], values]) if place.name in largest else values
            largest[place.name] = values.topk(min(held, values.numel())).values

        return at

    shown = [(place.module, look(place)) for place in places]
    read_inputs(model, shown, batches, f"{percentile:g}th percentiles")
    return {name: float(values[_above(counts[name], percentile)]) for name, values in largest.items()}


def _above(count: int, percentile: float) -> int:
    """How many of `count` values may lie above the percentile."""
    return count - max(1, math.ceil(count * percentile / 100))


@torch.no_grad()
def least_squared_error(model: PreTrainedModel, calibrated: CalibratedProbe, batches: list[Batch]) -> dict[str, float]:
    """The range of each module, out of its MinMax range times `FACTORS`, whose rounded inputs err least."""
    alone = replace(calibrated, probe=calibrated.probe.parts()["activations"])
    best: dict[str, tuple[float, float]] = {}
    for factor in counted(FACTORS, f"clipping {calibrated.name}: range"):
        ranges = {place.name: calibrated.calibration[place.name] * factor for place in calibrated.places}
        errors = dict.fromkeys(ranges, 0.0)
        with _comparing(replace(alone, calibration={**calibrated.calibration, **ranges}), model, errors):
            last_hidden(model, batches)
        for name, error in errors.items():
            if name not in best or error < best[name][0]:
                best[name] = (error, ranges[name])
    return {name: chosen for name, (_, chosen) in best.items()}


@contextmanager
def _comparing(calibrated: CalibratedProbe, model: PreTrainedModel, errors: dict[str, float]) -> Iterator[None]:
    """Sums what rounding does to each module's input, and hands the module its exact input."""
    exact: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            exact[name] = inputs[0]

        return hook

    def compare(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = exact.pop(name)
            errors[name] += float((x.float() - inputs[0].float()).square().sum())
            return (x, *inputs[1:])

        return hook

    handles = [place.module.register_forward_pre_hook(keep(place.name)) for place in calibrated.places]
    try:
        with calibrated.entered(model):  # its hooks come between the two
            handles += [place.module.register_forward_pre_hook(compare(place.name)) for place in calibrated.places]
            yield
    finally:
        for handle in handles:
            handle.remove()


def _make(name: str, argument: str | None) -> Clip:
    if argument is None:
        return Clip(name)
    percentile = float(argument)
    if not 50 <= percentile < 100:
        raise ValueError(name)
    return Clip(name, percentile)


KIND = Kind(
    "clip",
    "clip (least squared error), clip-99.9 (a percentile)",
    "static ranges that leave out the largest values",
    _make,
)
