"""`smooth`: scales moved from activations into weights, after SmoothQuant (Xiao et al., arXiv:2211.10438).

A channel j whose activations are large is divided by s_j where it is made, and the weights that read it are multiplied
by s_j, so that their product stays:

    s_j = max |x_j|^alpha / max |w_j|^(1 - alpha)        w_j over all maps that read the channel

Where a channel is made depends on who reads it: the gain of the norm for q, k, v and for gate, up; the rows of up for
down, as the MLP multiplies them; the rows of v for o, where attention only averages values. One value head serves
several query heads, whose channels then share a scale. V-scale is not linear in the values, so there v keeps its scale.

`smooth` takes alpha = 0.5, `smooth-0.7` another; `smooth-search` takes for each format the alpha with the smallest
error of the last hidden states, on calibration text.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.methods.calibration import calibrate
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.methods.read_inputs import read_inputs
from sinkscope.mitigations.hidden import last_hidden
from sinkscope.mitigations.mitigation import Kind, Mitigation, Subject, Variant
from sinkscope.mitigations.structure import Block, blocks_of, set_gain_
from sinkscope.models.families import family_of
from sinkscope.passes.batches import Batch
from sinkscope.passes.finite import or_infinite
from sinkscope.progress.display import counted
from sinkscope.vscale.attach import attached

ALPHA = 0.5
SEARCHED = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_SMALLEST = 1e-5


@dataclass(frozen=True)
class Smooth(Mitigation):
    """Scales moved into weights; `alpha` is None where it is searched for."""

    alpha: float | None = ALPHA

    moves_weights: ClassVar[bool] = True

    @property
    def changes_model(self) -> bool:
        """Weights, and nothing of what is computed."""
        return True

    def passes(self, probes: int) -> int:
        """One for the ranges; in a search one more per alpha, and one per probe and alpha."""
        return 1 if self.alpha is not None else 1 + len(SEARCHED) * (1 + probes)

    def refuse(self, model: PreTrainedModel) -> None:
        """Refuses unknown structures."""
        blocks_of(model, self.name)

    def variants(self, subject: Subject, probes: dict[str, Probe]) -> Iterator[Variant]:
        """A smoothed copy, or one for every alpha that was found best for some probe."""
        ranges = channel_ranges(subject.model, subject.calibration, self.name)
        if self.alpha is not None:
            yield Variant(smoothed(subject.model, ranges, self.alpha, self.name), probes, f"alpha {self.alpha:g}")
            return
        best = self._search(subject, probes, ranges)
        for alpha in sorted(set(best.values())):
            mine = {name: probe for name, probe in probes.items() if best[name] == alpha}
            yield Variant(smoothed(subject.model, ranges, alpha, self.name), mine, f"alpha {alpha:g}")

    def _search(
        self, subject: Subject, probes: dict[str, Probe], ranges: "list[dict[str, Tensor]]"
    ) -> dict[str, float]:
        exact = last_hidden(subject.model, subject.some)
        errors: dict[str, dict[float, float]] = {name: {} for name in probes}
        for alpha in counted(SEARCHED, f"{self.name}: alpha"):
            model = smoothed(subject.model, ranges, alpha, self.name)
            largest = calibrate(model, linears(model, subject.modules), subject.calibration)
            for name, probe in probes.items():
                calibrated = CalibratedProbe(name, probe, probe.places(model, subject.modules), largest)
                with calibrated.entered(model):
                    rounded = last_hidden(model, subject.some)
                errors[name][alpha] = sum(float((a - b).square().sum()) for a, b in zip(exact, rounded, strict=True))
        return {name: min(found, key=lambda alpha: or_infinite(found[alpha])) for name, found in errors.items()}


@torch.no_grad()
def channel_ranges(model: PreTrainedModel, batches: list[Batch], name: str) -> list[dict[str, Tensor]]:
    """The largest |x| of every channel that q, o, gate and down read, by layer, float32."""
    ranges: list[dict[str, Tensor]] = []
    shown: list[tuple[nn.Module, Callable[[Tensor], None]]] = []

    def look(found: dict[str, Tensor], key: str) -> Callable[[Tensor], None]:
        def at(x: Tensor) -> None:
            largest = x.abs().flatten(0, -2).amax(0).float()
            found[key] = torch.maximum(found[key], largest) if key in found else largest

        return at

    for block in blocks_of(model, name):
        found: dict[str, Tensor] = {}
        ranges.append(found)
        shown += [(module, look(found, key)) for key, module in _watched(block)]
    read_inputs(model, shown, batches, f"{name}, ranges of channels")
    return ranges


def _watched(block: Block) -> tuple[tuple[str, nn.Linear], ...]:
    return ("q", block.q), ("o", block.o), ("gate", block.gate), ("down", block.down)


@torch.no_grad()
def smoothed(model: PreTrainedModel, ranges: list[dict[str, Tensor]], alpha: float, name: str) -> PreTrainedModel:
    """A copy of a model with scales moved into its weights."""
    model = copy.deepcopy(model)
    family, linear_values = family_of(model), not attached(model)
    for block, found in zip(blocks_of(model, name), ranges, strict=True):
        for (norm, readers), key in zip(block.readers, ("q", "gate"), strict=True):
            scale = scales(found[key], readers, alpha)
            set_gain_(norm, family.gain(norm) / scale, family)
            if getattr(norm, "bias", None) is not None:
                norm.bias.data.div_(scale.to(norm.bias))  # type: ignore[operator, arg-type]
            for reader in readers:
                _multiply_(reader.weight, scale)
        scale = scales(found["down"], (block.down,), alpha)
        _divide_rows_(block.up, scale)
        _multiply_(block.down.weight, scale)
        if linear_values:
            _smooth_values_(block, found["o"], alpha)
    return model


def scales(largest: Tensor, readers: tuple[nn.Linear, ...], alpha: float) -> Tensor:
    """The scale of every channel, float32 [D]; 1 where nothing was ever read or no weight reads it."""
    weights = torch.stack([reader.weight.detach().float().abs().amax(0) for reader in readers]).amax(0)
    return _scale(largest.to(weights.device), weights, alpha)


def _scale(largest: Tensor, weights: Tensor, alpha: float) -> Tensor:
    scale = largest.clamp_min(_SMALLEST).pow(alpha) / weights.clamp_min(_SMALLEST).pow(1 - alpha)
    return torch.where((largest > 0) & (weights > 0), scale.clamp_min(_SMALLEST), 1.0)


def _smooth_values_(block: Block, largest: Tensor, alpha: float) -> None:
    """Scales of values, shared by the query heads that read a value head."""
    shape = (block.kv_heads, -1, block.head_dim)
    weights = block.o.weight.detach().float().abs().amax(0)
    scale_KD = _scale(largest.to(weights.device).view(shape).amax(1), weights.view(shape).amax(1), alpha)
    groups = block.o.in_features // block.v.out_features
    _divide_rows_(block.v, scale_KD.flatten())
    _multiply_(block.o.weight, scale_KD[:, None].expand(-1, groups, -1).flatten())


def _multiply_(weight: Tensor, scale: Tensor) -> None:
    weight.data.copy_(weight.data.float() * scale.to(weight.device))


def _divide_rows_(module: nn.Linear, scale: Tensor) -> None:
    scale = scale.to(module.weight.device)
    module.weight.data.copy_(module.weight.data.float() / scale[:, None])
    if module.bias is not None:
        module.bias.data.copy_(module.bias.data.float() / scale)


def _make(name: str, argument: str | None) -> Smooth:
    if argument == "search":
        return Smooth(name, None)
    alpha = ALPHA if argument is None else float(argument)
    if not 0 <= alpha <= 1:
        raise ValueError(name)
    return replace(Smooth(name), alpha=alpha)


KIND = Kind(
    "smooth", "smooth (alpha 0.5), smooth-0.7, smooth-search", "scales moved from activations to weights", _make
)
