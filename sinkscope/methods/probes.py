"""The probes: a model whose linear modules compute on quantized weights and activations.

A probe puts a quantized copy in the place of each weight, and a hook before the module that hands it a quantized copy
of its input. Inputs are never changed in place: the same tensor may feed several modules and the residual stream.

`probed` does so for the length of a block. Leaving puts the very same parameters back, so that the model is
bit-identical to before, also after an exception; meanwhile the weights' memory doubles. `probe_` does so for good, on a
model that was loaded for that, and lets go of each weight as it is rounded.

What is simulated is the arithmetic on rounded values, not an integer kernel; sums run in the model's dtype. Gradients
pass a rounded weight exactly, and a rounded input straight through (`rounding`).
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.methods.linear_modules import Place, down_pattern, linears
from sinkscope.methods.rounding import BITS, channel_scale, quantized, straight_through, tensor_scale, token_scale

GRAMMAR = "w8, a8-dynamic, a8-static, w8a8-dynamic, w8a8-static, w8a8-static-down (8 may be 2 to 8)"
_NAME = re.compile(r"(?:w(?P<w>\d))?(?:a(?P<a>\d)-(?P<kind>dynamic|static)(?P<down>-down)?)?")


@dataclass(frozen=True)
class Probe:
    """What a probe rounds.

    Attributes:
        weight_bits: bits of the weights, a static scale per output channel; None leaves weights alone.
        activation_bits: bits of the activations; None leaves them alone.
        static: one calibrated scale per tensor (MinMax) instead of a dynamic one per token.
        down: the MLPs' down projections only.
    """

    weight_bits: int | None
    activation_bits: int | None
    static: bool = False
    down: bool = False

    @property
    def calibrates(self) -> bool:
        """Whether it needs to know the largest inputs before."""
        return self.static and self.activation_bits is not None

    @property
    def granularity(self) -> str:
        """The scales in words."""
        weights = "W per channel" if self.weight_bits else ""
        kind = "A per tensor" if self.static else "A per token"
        parts = [weights, kind if self.activation_bits else "", "down_proj only" if self.down else ""]
        return ", ".join(part for part in parts if part)

    def parts(self) -> "dict[str, Probe]":
        """The probe with weights only, activations only, and both."""
        return {
            "weights": replace(self, activation_bits=None),
            "activations": replace(self, weight_bits=None),
            "both": self,
        }

    def places(self, model: PreTrainedModel, pattern: str | None = None) -> list[Place]:
        """The modules that the probe quantizes: all, or its down projections, of those that `pattern` selects.

        Raises:
            SinkscopeError: if there are none, or the model cannot be probed.
        """
        chosen = linears(model, pattern)
        if not self.down:
            return chosen
        down = {place.name for place in linears(model, down_pattern(model))}
        kept = [place for place in chosen if place.name in down]
        if not kept:
            raise RequestError(f"the pattern {pattern} selects no {down_pattern(model)}")
        return kept


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


def parse_probe(name: str) -> Probe | None:
    """A probe by its name, as `w8a8-static-down`; None where the name is none of the grammar's."""
    match = _NAME.fullmatch(name)
    if match is None or not name:
        return None
    bits = [int(match[key]) if match[key] else None for key in ("w", "a")]
    if any(b is not None and b not in BITS for b in bits):
        return None
    return Probe(bits[0], bits[1], match["kind"] == "static", match["down"] is not None)


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
    places = probe.places(model) if places is None else places
    scales = _scales(probe, calibration or {}, places)
    originals = [(place.module, place.module.weight) for place in places]
    handles: list[Any] = []
    try:
        for place in places:
            handles += _put_(place.module, probe, scales.get(place.name))
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module, weight in originals:
            module.weight = weight


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
    scales = _scales(probe, calibration or {}, places)
    for place in places:
        _put_(place.module, probe, scales.get(place.name))
    return model


def _scales(probe: Probe, calibration: dict[str, float], places: list[Place]) -> dict[str, Tensor]:
    """The fixed scales by module name; none where activations are not static."""
    if not probe.calibrates or probe.activation_bits is None:
        return {}
    missing = [place.name for place in places if place.name not in calibration]
    if missing:
        raise SinkscopeError(f"static activations need a calibration, and {missing[0]} has none")
    return {place.name: tensor_scale(calibration[place.name], probe.activation_bits) for place in places}


def _put_(module: nn.Linear, probe: Probe, scale: Tensor | None) -> list[Any]:
    """Rounds a module's weight and, by hooks that are returned, its inputs."""
    if probe.weight_bits:
        module.weight = _rounded_weight(module.weight, probe.weight_bits)
    if not probe.activation_bits:
        return []
    return [module.register_forward_pre_hook(_rounder(probe.activation_bits, scale))]


@torch.no_grad()
def _rounded_weight(weight: Tensor, bits: int) -> nn.Parameter:
    return nn.Parameter(quantized(weight, channel_scale(weight, bits), bits), requires_grad=False)


def _rounder(bits: int, scale: Tensor | None) -> Any:
    """A forward pre-hook that rounds a module's input, by a fixed scale or by each token's own."""

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0]
        by = token_scale(x.detach(), bits) if scale is None else scale.to(x.device)
        return (straight_through(x, by, bits), *inputs[1:])

    return hook
