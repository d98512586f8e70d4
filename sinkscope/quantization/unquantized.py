"""Everything that needs the unquantized model: the exact losses, the probes, noise, ranking, histograms, outliers.

The probes share the model. Each leaves it bit for bit as it was, so that one copy in memory does for all of them.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
from transformers import PreTrainedModel

from sinkscope.analysis.measure import measure
from sinkscope.capture.settings import Settings
from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import Loaded
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.choose import Chosen
from sinkscope.methods.grammar import split
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, Probe, parse_probe
from sinkscope.mitigations.mitigation import Mitigation, Subject
from sinkscope.names import NONE
from sinkscope.quantization.changes import change
from sinkscope.quantization.hand_over import hand_over
from sinkscope.quantization.histograms import histograms
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.mitigated import acting, measure_mitigated, ranker
from sinkscope.quantization.model_text import ModelText
from sinkscope.quantization.noise import measure_noise
from sinkscope.quantization.ranking import losses, mean_loss, noisiest, rank
from sinkscope.quantization.saving import Row
from sinkscope.quantization.settings import QuantizationSettings
from sinkscope.quantization.state import State
from sinkscope.tables.builder import Rows

WORST = 4  # modules whose histograms are kept


class _Subject(NamedTuple):
    """The model that probes are put on: its name, its text, its losses without any, and what is kept of it."""

    model: PreTrainedModel
    label: str
    text: ModelText
    exact: pd.DataFrame
    state: State


def measure_unquantized(
    loaded: Loaded,
    text: ModelText,
    chosen: Chosen,
    settings: QuantizationSettings,
    measurements: Measurements,
    mitigations: Mapping[str, Mitigation],
    rows: list[Row],
    state: State,
) -> None:
    """Measures the unquantized model, and every probe on it, as it is and under every mitigation.

    Args:
        loaded: the model.
        text: its windows.
        chosen: the methods, among them the probes.
        settings: the request's.
        measurements: where all that is found is added.
        mitigations: by name.
        rows: those among which one is saved as a checkpoint; none saves none.
        state: what is kept of the model.

    Raises:
        SinkscopeError: if its losses are not finite, or a probe cannot be put on it.
    """
    model, label = loaded.model, loaded.name
    for probe in chosen.probes.values():
        probe.places(model, settings.modules)  # a probe that cannot be put on it is refused before the first pass
    for name, cache in chosen.caches.items():
        cache.check(model)
        if (under := parse_probe(split(name)[0])) is not None:
            under.places(model, settings.modules)
    of_mitigations = Subject(
        model, label, text.calibration_batches(), text.evaluated.input_ids, loaded.tokenizer,
        isolated=text.document_ids is not None, modules=settings.modules, seed=settings.seed,
        rank=ranker(label, text.calibration_batches(), settings),
    )  # fmt: skip
    mitigations = acting(of_mitigations, mitigations, measurements, state)
    exact = state.losses(NONE, measure=lambda: _exact(model, label, text))
    measurements.add_losses(label, NONE, exact)
    subject = _Subject(model, label, text, exact, state)
    largest, calibration = None, {}
    if chosen.probes:
        calibration = _measure_probes(subject, chosen, settings, measurements)
        largest = max(calibration.values())
        measure_mitigated(of_mitigations, chosen.probes, mitigations, text.batches(), measurements, calibration, state)
    _measure_caches(subject, chosen, settings, measurements, calibration)
    analysis = state.value("analysis", measure=lambda: _analysis(loaded, text))
    measurements.add_outliers(label, analysis["headline"], largest)
    measurements.models.append({**analysis["model"], **loaded.description})
    measurements.windows[label] = text.evaluated.sha256
    measurements.calibrated_on(text.source, len(text.calibration.input_ids))
    measurements.targets = int(exact["targets"].sum())
    measurements.device = str(model.device)
    measurements.used(model.device)
    if rows:
        hand_over(of_mitigations, loaded, chosen, mitigations, calibration, rows, settings, measurements)


def _exact(model: PreTrainedModel, label: str, text: ModelText) -> pd.DataFrame:
    """The losses of the model as it is."""
    exact = losses(model, text.batches(), f"{label}: {NONE}")
    if not exact["loss_sum"].map(pd.notna).all() or exact["loss_sum"].max() == float("inf"):
        raise SinkscopeError(f"the loss of {label} is not finite before any quantization: try float32 or bfloat16")
    return exact


def _analysis(loaded: Loaded, text: ModelText) -> dict[str, Any]:
    """What is taken from the forward half of the model's analysis."""
    analysis = measure(
        loaded.model,
        text.evaluated.input_ids,
        settings=_forward_only(text),
        batch_size=text.windows.batch_size,
        document_ids=text.document_ids,
        tokenizer=loaded.tokenizer,
    )
    return {"headline": analysis.info["headline"], "model": analysis.info["model"]}


def _measure_probes(
    subject: _Subject, chosen: Chosen, settings: QuantizationSettings, measurements: Measurements
) -> dict[str, float]:
    """Every probe's losses and noise, and the ranking; returns the calibration, the largest |x| by module."""
    model, modules = subject.model, settings.modules
    calibration = _calibration(subject, settings)
    probes = [
        CalibratedProbe(name, probe, probe.places(model, modules), calibration) for name, probe in chosen.probes.items()
    ]
    for calibrated in probes:
        _measure_probe(subject, calibrated, measurements, seed=settings.seed)
    noise = subject.state.table(
        "noise", measure=lambda: measure_noise(model, subject.label, probes, subject.text.batches())
    )
    measurements.add("noise", noise)
    for calibrated in probes:
        if calibrated.name == settings.rank_by:
            of_plan = noise[noise["method"] == calibrated.name]
            _measure_ranking(subject, calibrated, of_plan, settings, measurements)
    return calibration


def _calibration(subject: _Subject, settings: QuantizationSettings) -> dict[str, float]:
    """The largest |x| that each module reads, by module."""
    model, batches = subject.model, subject.text.calibration_batches()
    return subject.state.value(
        "calibration", measure=lambda: calibrate(model, linears(model, settings.modules), batches)
    )


def _measure_caches(
    subject: _Subject,
    chosen: Chosen,
    settings: QuantizationSettings,
    measurements: Measurements,
    calibration: Mapping[str, float],
) -> None:
    """The losses under every cache, alone or joined to a probe."""
    model, label, text, _, state = subject
    joined = {name: parse_probe(split(name)[0]) for name in chosen.caches}
    if not calibration and any(probe is not None and probe.calibrates for probe in joined.values()):
        calibration = _calibration(subject, settings)

    def under(name: str, cache: CacheProbe, probe: Probe | None) -> pd.DataFrame:
        with ExitStack() as stack:
            if probe is not None:
                places = probe.places(model, settings.modules)
                stack.enter_context(CalibratedProbe(name, probe, places, dict(calibration)).entered(model))
            stack.enter_context(cache.entered(model))
            return losses(model, text.batches(), f"{label}: {name}")

    for name, cache in chosen.caches.items():
        probe = joined[name]
        if probe is None and split(name)[0] != NONE:
            continue  # a library's method, which loads its own model
        measured = state.losses("cache", name, measure=partial(under, name, cache, probe))
        measurements.add_losses(label, name, measured)


def _measure_probe(subject: _Subject, calibrated: CalibratedProbe, measurements: Measurements, *, seed: int) -> None:
    """The losses of a probe, and of its parts where it rounds both weights and activations."""
    model, label, text, exact, state = subject
    both = calibrated.probe.weight_bits is not None and calibrated.probe.activation_bits is not None
    rows = Rows("parts")
    for part, probe in calibrated.probe.parts().items():
        if part != "both" and not both:
            continue
        of_part = CalibratedProbe(calibrated.name, probe, calibrated.places, calibrated.calibration)

        def under(of_part: CalibratedProbe = of_part, part: str = part) -> pd.DataFrame:
            with of_part.entered(model):
                return losses(model, text.batches(), f"{label}: {calibrated.name}, {part}")

        measured = state.losses(calibrated.name, part, measure=under)
        if both:
            rows.add(model=label, method=calibrated.name, part=part, loss=mean_loss(measured),
                     **change(measured, exact, seed=seed))  # fmt: skip
        if part == "both":
            measurements.add_losses(label, calibrated.name, measured)
    measurements.add("parts", rows.frame())


def _measure_ranking(
    subject: _Subject,
    calibrated: CalibratedProbe,
    noise: pd.DataFrame,
    settings: QuantizationSettings,
    measurements: Measurements,
) -> None:
    """The ranking by a probe, given its noise, and histograms of the first modules."""
    model, label, text, _, state = subject
    ranked = noisiest(noise, calibrated.places, settings.rank_limit)
    few = text.batches(settings.rank_sequences)
    ranking = state.table("ranking", measure=lambda: rank(model, label, calibrated, ranked, few))
    measurements.add("ranking", ranking)
    by_name = {place.name: place for place in calibrated.places}
    worst = [by_name[name] for name in ranking["module"][:WORST]]
    largest = dict(zip(noise["module"].tolist(), noise["activation_absmax"].tolist(), strict=True))
    found = state.table("histograms", measure=lambda: histograms(model, label, worst, largest, text.batches()).frame())
    measurements.add("histograms", found)


def _forward_only(text: ModelText) -> Settings:
    """A forward-only analysis of windows that may be shorter than the defaults."""
    tokens = text.evaluated.input_ids.shape[1]
    return Settings(backward=False, early=min(Settings.early, tokens - 1), positions=min(Settings.positions, tokens))
