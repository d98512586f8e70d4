"""Every probe under every mitigation: the losses, what the mitigation chose, and what is left of the outliers.

The unquantized model is in memory meanwhile, and one changed copy of it at a time.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace

from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.mitigations.mitigation import Mitigation, Subject, Variant
from sinkscope.mitigations.sites import site_outliers
from sinkscope.names import NONE
from sinkscope.passes.batches import Batch
from sinkscope.progress.display import say, stage
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.noise import measure_noise
from sinkscope.quantization.ranking import losses, noisiest, rank
from sinkscope.quantization.settings import QuantizationSettings


def measure_mitigated(
    subject: Subject,
    probes: Mapping[str, Probe],
    mitigations: Mapping[str, Mitigation],
    evaluated: list[Batch],
    measurements: Measurements,
    calibration: dict[str, float],
) -> None:
    """Measures the losses of all probes under all mitigations.

    Args:
        subject: the unquantized model, and the text to calibrate on.
        probes: by name.
        mitigations: by name.
        evaluated: the windows whose losses are taken.
        measurements: where all that is found is added.
        calibration: the largest inputs by module of the unquantized model, for mitigations that leave it as it is.

    Raises:
        SinkscopeError: if no mitigation can act on the model; one that cannot is left out, with a note, beside others.
    """
    if any(mitigation.changes_model for mitigation in mitigations.values()):
        _add_sites(subject, subject.model, NONE, measurements)
    refused: dict[str, SinkscopeError] = {}
    for name, mitigation in mitigations.items():
        stage(f"{subject.label}: {name}")
        try:
            _measure_one(subject, name, mitigation, probes, evaluated, measurements, calibration)
        except SinkscopeError as error:  # what was measured before it, maybe for an hour, is not lost
            refused[name] = error
            measurements.drop(subject.label, name)
            measurements.notes.append(f"{subject.label}, {name}: left out. {str(error).replace('`', '')}.")
            say(f"{name} is left out of {subject.label}: {error}")
    if refused and len(refused) == len(mitigations):
        raise next(iter(refused.values()))


def _measure_one(
    subject: Subject,
    name: str,
    mitigation: Mitigation,
    probes: Mapping[str, Probe],
    evaluated: list[Batch],
    measurements: Measurements,
    calibration: dict[str, float],
) -> None:
    """All probes under one mitigation."""
    fitting = {method: probe for method, probe in probes.items() if mitigation.applies_to(probe)}
    with closing(mitigation.variants(subject, fitting)) as variants:  # type: ignore[type-var]
        for number, variant in enumerate(variants):
            if mitigation.changes_model and number == 0:
                _add_sites(subject, variant.model, name, measurements)
            if len(variant.probes) == len(fitting) and mitigation.changes_model:  # of a search each has its own
                exact = losses(variant.model, evaluated, f"{subject.label}: {NONE} under {name}")
                measurements.add_losses(subject.label, NONE, exact, mitigation=name, chose=variant.chose)
            _measure_variant(
                subject, name, mitigation, variant, evaluated, measurements,
                None if mitigation.changes_model else calibration,
            )  # fmt: skip


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
    few = batches[: settings.rank_sequences]

    def ranked(model: PreTrainedModel, calibrated: CalibratedProbe, most: int) -> list[str]:
        noise = measure_noise(model, label, [calibrated], few)
        shortlist = noisiest(noise, calibrated.places, min(settings.rank_limit, most))
        found = rank(model, label, calibrated, shortlist, few)
        return list(map(str, found.sort_values("recovered", ascending=False, kind="stable")["module"]))

    return ranked


def _measure_variant(
    subject: Subject,
    name: str,
    mitigation: Mitigation,
    variant: Variant,
    evaluated: list[Batch],
    measurements: Measurements,
    calibration: dict[str, float] | None,
) -> None:
    model = variant.model
    if calibration is None and variant.probes:
        calibration = calibrate(model, linears(model, subject.modules), subject.calibration)
    for method, probe in variant.probes.items():
        plain = CalibratedProbe(method, probe, probe.places(model, subject.modules), calibration or {})
        calibrated, chose = mitigation.ready(replace(subject, model=model), plain)
        with calibrated.entered(model):
            measured = losses(model, evaluated, f"{subject.label}: {method} under {name}")
        chosen = "; ".join(filter(None, (variant.chose, chose)))
        measurements.add_losses(subject.label, method, measured, mitigation=name, chose=chosen)


def _add_sites(subject: Subject, model: PreTrainedModel, name: str, measurements: Measurements) -> None:
    places = linears(model, subject.modules)
    table = site_outliers(model, subject.label, name, places, subject.calibration)
    measurements.add("mitigation_sites", table)
