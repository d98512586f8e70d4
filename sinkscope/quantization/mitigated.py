"""Every probe under every mitigation: the losses, what the mitigation chose, and what is left of the outliers.

The unquantized model is in memory meanwhile, and one changed copy of it at a time.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.mitigations.mitigation import Mitigation, Subject, Variant
from sinkscope.mitigations.sites import site_outliers
from sinkscope.names import NONE
from sinkscope.passes.batches import Batch, first_windows
from sinkscope.progress.display import say, stage
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.noise import measure_noise
from sinkscope.quantization.ranking import losses, noisiest, rank
from sinkscope.quantization.settings import QuantizationSettings
from sinkscope.quantization.state import State, columns
from sinkscope.tables.columns import frame

_SITES = "mitigation_sites"


def acting(
    subject: Subject, mitigations: Mapping[str, Mitigation], measurements: Measurements, state: State
) -> dict[str, Mitigation]:
    """Those of the mitigations that a short look does not rule out; others are left out, with a note.

    Args:
        subject: the unquantized model, and the text to calibrate on.
        mitigations: by name.
        measurements: where the notes go.
        state: what is kept of the model.

    Raises:
        SinkscopeError: if there are some, and none can act on the model.
    """
    left: dict[str, Mitigation] = {}
    for name, mitigation in mitigations.items():
        stage(f"{subject.label}: a look at {name}")
        found = state.value("look", name, measure=partial(_looked, subject, mitigation), early=True)
        if "refused" in found:
            _leave_out(subject, name, found["refused"], measurements)
        else:
            left[name] = mitigation
    if mitigations and not left:
        raise SinkscopeError(found["refused"])
    return left


def _looked(subject: Subject, mitigation: Mitigation) -> dict[str, Any]:
    try:
        mitigation.look(subject)
    except SinkscopeError as error:
        return {"refused": str(error)}
    return {}


def _leave_out(subject: Subject, name: str, why: str, measurements: Measurements) -> None:
    measurements.notes.append(f"{subject.label}, {name}: left out. {why.replace('`', '')}.")
    say(f"{name} is left out of {subject.label}: {why}")


def measure_mitigated(
    subject: Subject,
    probes: Mapping[str, Probe],
    mitigations: Mapping[str, Mitigation],
    evaluated: list[Batch],
    measurements: Measurements,
    calibration: dict[str, float],
    state: State,
) -> None:
    """Measures the losses of all probes under all mitigations.

    Args:
        subject: the unquantized model, and the text to calibrate on.
        probes: by name.
        mitigations: by name.
        evaluated: the windows whose losses are taken.
        measurements: where all that is found is added.
        calibration: the largest inputs by module of the unquantized model, for mitigations that leave it as it is.
        state: what is kept of the model.

    Raises:
        SinkscopeError: if no mitigation can act on the model; one that cannot is left out, with a note, beside others.
    """
    if any(mitigation.changes_model for mitigation in mitigations.values()):
        sites = state.table(_SITES, NONE, measure=lambda: _sites(subject, subject.model, NONE))
        measurements.add(_SITES, sites)
    refused: list[str] = []
    for name, mitigation in mitigations.items():
        stage(f"{subject.label}: {name}")
        one = _One(subject, name, mitigation, evaluated, state)
        found = state.value("mitigation", name, measure=partial(one.measured, probes, calibration))
        if "refused" in found:  # what was measured before it, maybe for an hour, is not lost
            refused.append(found["refused"])
            _leave_out(subject, name, found["refused"], measurements)
            continue
        for row in found["rows"]:
            losses_of_row = pd.DataFrame(row["losses"])
            measurements.add_losses(subject.label, row["method"], losses_of_row, mitigation=name, chose=row["chose"])
        if found["sites"] is not None:
            measurements.add(_SITES, frame(_SITES, found["sites"]))
    if refused and len(refused) == len(mitigations):
        raise SinkscopeError(refused[0])


class _One:
    """All probes under one mitigation."""

    def __init__(
        self, subject: Subject, name: str, mitigation: Mitigation, evaluated: list[Batch], state: State
    ) -> None:
        self._subject, self._name, self._mitigation = subject, name, mitigation
        self._evaluated, self._state = evaluated, state

    def measured(self, probes: Mapping[str, Probe], calibration: dict[str, float]) -> dict[str, Any]:
        """Its rows in order and its table of sites, or why it is refused."""
        mitigation, subject = self._mitigation, self._subject
        fitting = {method: probe for method, probe in probes.items() if mitigation.applies_to(probe)}
        rows: list[dict[str, Any]] = []
        sites = None
        try:
            with closing(mitigation.variants(subject, fitting)) as variants:  # type: ignore[type-var]
                for number, variant in enumerate(variants):
                    if mitigation.changes_model and number == 0:
                        sites = columns(_sites(subject, variant.model, self._name))
                    if len(variant.probes) == len(fitting) and mitigation.changes_model:  # of a search each has its own
                        rows.append(self._row(NONE, partial(self._exact, variant)))
                    rows += self._rows(variant, None if mitigation.changes_model else calibration)
        except SinkscopeError as error:
            return {"refused": str(error)}
        return {"rows": rows, "sites": sites}

    def _rows(self, variant: Variant, calibration: dict[str, float] | None) -> list[dict[str, Any]]:
        subject, known = self._subject, calibration
        rows = []
        for method in variant.probes:

            def measured(method: str = method) -> dict[str, Any]:
                nonlocal known
                known = calibration_of(subject, variant) if known is None else known
                calibrated, chose = readied(subject, self._mitigation, variant, method, known)
                with calibrated.entered(variant.model):
                    return {"losses": self._losses(variant, method), "chose": chose}

            rows.append(self._row(method, measured))
        return rows

    def _row(self, method: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return {"method": method, **self._state.value("row", self._name, method, measure=measure)}

    def _exact(self, variant: Variant) -> dict[str, Any]:
        return {"losses": self._losses(variant, NONE), "chose": variant.chose}

    def _losses(self, variant: Variant, method: str) -> dict[str, Any]:
        words = f"{self._subject.label}: {method} under {self._name}"
        return columns(losses(variant.model, self._evaluated, words))


def calibration_of(subject: Subject, variant: Variant) -> dict[str, float]:
    """The largest inputs by module of a variant's model."""
    return calibrate(variant.model, linears(variant.model, subject.modules), subject.calibration)


def readied(
    subject: Subject, mitigation: Mitigation, variant: Variant, method: str, calibration: dict[str, float]
) -> tuple[CalibratedProbe, str]:
    """One of a variant's probes as it is put on its model, and what was chosen, in words.

    Args:
        subject: the unquantized model, and the text to calibrate on.
        mitigation: that made the variant.
        variant: a model, and probes.
        method: the probe's name.
        calibration: the largest inputs by module on the variant's model.
    """
    model, probe = variant.model, variant.probes[method]
    plain = CalibratedProbe(method, probe, probe.places(model, subject.modules), calibration)
    calibrated, chose = mitigation.ready(replace(subject, model=model), plain)
    return calibrated, "; ".join(filter(None, (variant.chose, chose)))


def ranker(
    label: str, batches: list[Batch], settings: QuantizationSettings
) -> Callable[[PreTrainedModel, CalibratedProbe, int], list[str]] | None:
    """Ranks a probe's modules by what sparing them wins back, on calibration text; None where nothing is ranked.

    Args:
        label: the model's name.
        batches: windows to calibrate on.
        settings: how many windows and modules are ranked.
    """
    if not settings.rank_sequences:
        return None
    few = first_windows(batches, settings.rank_sequences)

    def ranked(model: PreTrainedModel, calibrated: CalibratedProbe, most: int) -> list[str]:
        noise = measure_noise(model, label, [calibrated], few)
        shortlist = noisiest(noise, calibrated.places, min(settings.rank_limit, most))
        found = rank(model, label, calibrated, shortlist, few)
        return list(map(str, found.sort_values("recovered", ascending=False, kind="stable")["module"]))

    return ranked


def _sites(subject: Subject, model: PreTrainedModel, name: str) -> pd.DataFrame:
    places = linears(model, subject.modules)
    return site_outliers(model, subject.label, name, places, subject.calibration)
