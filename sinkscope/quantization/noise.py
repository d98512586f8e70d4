"""Quantization noise, module by module, on the inputs that each module has in the unquantized model.

The loss tells whether a model survives; this tells where the noise enters. Each module is looked at alone: its input
and weight are quantized, its output is compared with the exact one, and the exact output goes on. So noise of one layer
does not hide in the noise of the next.

    SQNR = 10 log10( sum x^2 / sum (x - x_hat)^2 ) dB       over all tokens and channels of the run

(signal-to-quantization-noise ratio; 6 dB is one bit). A batch is summed in float32, batches in float64.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from sinkscope.methods.formats.rounding import rounded
from sinkscope.methods.linear_modules import Place
from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.passes.batches import Batch, unit
from sinkscope.passes.losses import loss_sums
from sinkscope.passes.modes import frozen
from sinkscope.progress.display import counted
from sinkscope.tables.builder import Rows


def sqnr(signal: float, error: float) -> float:
    """10 log10(signal / error) in dB, of sums of squares; NaN where there is no error or no signal.

    Minus infinity where the error is not finite, as of a module whose rounded output overflows: the noisiest of all.
    """
    if not math.isfinite(error):
        return -math.inf
    if not error > 0 or not signal > 0:
        return float("nan")
    return 10 * math.log10(signal / error)


@dataclass
class _Tally:
    """Running sums of one module."""

    activation_absmax: float = 0.0
    values: int = 0
    zeroed: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, exact: Tensor, rounded: Tensor) -> None:
        """Adds a tensor's signal and error."""
        exact, error = exact.float(), exact.float() - rounded.float()
        for key, value in ((f"{name}_signal", exact), (f"{name}_error", error)):
            self.sums[key] = self.sums.get(key, 0.0) + float(value.square().sum())

    def sqnr(self, name: str) -> float:
        """SQNR of a tensor in dB; NaN where it was not measured."""
        return sqnr(self.sums.get(f"{name}_signal", 0.0), self.sums.get(f"{name}_error", 0.0))


@torch.no_grad()
def measure_noise(
    model: PreTrainedModel, label: str, probes: list[CalibratedProbe], batches: list[Batch]
) -> pd.DataFrame:
    """Measures the noise that probes make, in one pass of the unquantized model.

    Args:
        model: the unquantized model.
        label: its name in the table.
        probes: each with its modules.
        batches: windows of text.

    Returns:
        The table `noise`.
    """
    tallies = {(calibrated.name, place.name): _Tally() for calibrated in probes for place in calibrated.places}
    with frozen(model), _watching(probes, tallies):
        for batch in counted(batches, f"measuring noise: {unit(batches)}"):
            loss_sums(model, batch)
    rows = Rows("noise")
    for calibrated in probes:
        for place in calibrated.places:
            _row(rows, label, calibrated, place, tallies[calibrated.name, place.name])
    return rows.frame()


@contextmanager
def _watching(probes: list[CalibratedProbe], tallies: dict[tuple[str, str], _Tally]) -> Iterator[None]:
    handles = []
    try:
        for calibrated in probes:
            for place in calibrated.places:
                largest, tally = calibrated.calibration[place.name], tallies[calibrated.name, place.name]
                watch = _watcher(calibrated.probe, place, largest, tally)
                handles.append(place.module.register_forward_hook(watch))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watcher(probe: Probe, place: Place, absmax: float, tally: _Tally) -> Any:
    side = probe.inputs_of(place)

    def watch(module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x, weight = inputs[0], module.weight
        tally.activation_absmax = max(tally.activation_absmax, float(x.abs().amax()))
        if side is not None:
            coarse = rounded(x, side, absmax if side.calibrated else None)
            tally.values += x.numel()
            tally.zeroed += int(((coarse == 0) & (x != 0)).sum())
            tally.add("activation", x, coarse)
            x = coarse
        if probe.weights is not None:
            weight = rounded(weight, probe.weights)
        tally.add("output", output, F.linear(x, weight, module.bias))

    return watch


def _row(rows: Rows, label: str, calibrated: CalibratedProbe, place: Place, tally: _Tally) -> None:
    weight, side = place.module.weight.detach(), calibrated.probe.weights
    of_weight, weight_zeroed = _Tally(), float("nan")
    if side is not None:
        coarse = rounded(weight, side)
        of_weight.add("weight", weight, coarse)
        weight_zeroed = int(((coarse == 0) & (weight != 0)).sum()) / weight.numel()
    rows.add(
        model=label,
        method=calibrated.name,
        layer=place.layer,
        site=place.site,
        module=place.name,
        activation_absmax=tally.activation_absmax,
        weight_absmax=float(weight.abs().max()),
        activation_zeroed=tally.zeroed / tally.values if tally.values else float("nan"),
        weight_zeroed=weight_zeroed,
        sqnr_activation=tally.sqnr("activation"),
        sqnr_weight=of_weight.sqnr("weight"),
        sqnr_output=tally.sqnr("output"),
    )
