"""The plan of a comparison of methods: what each takes on one model, and how many windows fit a budget.

The probes are tried on the first layers, as the real thing has them: calibrated, rounded on entering, rounding what
passes. A library's method loads the model again and is taken to run as fast as the model itself, which is said.
"""

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.trial import Trial
from sinkscope.capture.settings import Settings
from sinkscope.durations import seconds_of
from sinkscope.inputs import DEFAULT_SEQUENCES, Windows
from sinkscope.loading.load import Loaded
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.choose import Chosen
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.mitigations.keep import SHORTLIST
from sinkscope.mitigations.mitigation import FEW
from sinkscope.mitigations.registry import mitigations_of
from sinkscope.models.families import family_of
from sinkscope.models.first_layers import first_layers, sample_size
from sinkscope.models.shape import default_tokens
from sinkscope.passes.batches import Batch, batches_of
from sinkscope.passes.modes import frozen, input_device
from sinkscope.passes.trial import now, seconds_of_head, timed
from sinkscope.planning.budget import fitting, in_words, lengths_of, refusal
from sinkscope.planning.forecast import DRAWING, LONG, Forecast
from sinkscope.planning.machine import Machine
from sinkscope.planning.memory import forward_memory
from sinkscope.progress.display import say_plan
from sinkscope.quantization.noise import measure_noise
from sinkscope.quantization.settings import QuantizationRequest

SHORT = 180.0  # seconds: what would be short, where the plan is long
_TRIED = 512  # tokens at most of a window on which probes are tried
_FROM_LAYER = 0.6  # of a whole pass: one that begins at a module's layer, in the mean the middle one, and the head
_HISTOGRAMS = 1.5  # forward passes over the windows that histograms of the worst modules take
# What makes it less work, for a budget that nothing fits.
_LESS = ("ask for fewer `tokens` or `methods`", "leave the ranking out with `rank_sequences=0`")


@dataclass(frozen=True)
class Rates:
    """Seconds per token of passes through all layers and the head, and seconds of entering probes once."""

    plain: float
    calibrating: float
    probed: float  # of all probes together, with their parts
    entering: float
    noise: float
    ranked: float  # of a pass with every module of the ranking's probe rounded
    analysis: float


class Costs:
    """What the methods of a request take on a model.

    Args:
        loaded: the model.
        request: methods and settings.
        chosen: the methods.
        loading: seconds that loading took.
        input_ids: windows [B, T] to try.

    Attributes:
        chosen: the methods.
        rates: what was measured.
        trial: seconds that were spent on it.
    """

    def __init__(
        self, loaded: Loaded, request: QuantizationRequest, chosen: Chosen, loading: float, input_ids: Tensor
    ) -> None:
        from sinkscope.report.trial import seconds_to_draw  # loads matplotlib

        self._request, self.chosen, self._loading = request, chosen, loading
        started = now()
        self._modules = len(linears(loaded.model, request.settings.modules))
        self.rates = _rates(loaded, request, chosen, input_ids)
        self._mitigations = mitigations_of(request.settings.mitigate)
        self._drawing = seconds_to_draw("quantization")
        self.trial = now() - started

    def stages(self, sequences: int, tokens: int) -> dict[str, float]:
        """Seconds by kind of work, of all models."""
        rates, settings = self.rates, self._request.settings
        read = sequences * tokens
        calibrated = (settings.calibration_sequences or sequences) * tokens
        stages = {"exact losses": read * rates.plain, "outliers": read * rates.analysis}
        if self.chosen.probes:
            stages["calibrating"] = calibrated * rates.calibrating
            stages["probes"] = read * rates.probed + rates.entering
            stages["noise"] = read * rates.noise
        if self.chosen.probes and settings.rank_by is not None:
            ranked = min(settings.rank_limit, self._modules)
            over = min(settings.rank_sequences, sequences) * tokens
            per_module = _FROM_LAYER * over * (rates.plain + rates.ranked)
            stages["ranking"] = ranked * per_module + _HISTOGRAMS * read * rates.plain
        if self.chosen.caches:
            stages["caches"] = len(self.chosen.caches) * read * rates.plain
        if self._mitigations:
            over = min(settings.rank_sequences * tokens, calibrated)
            stages["mitigations"] = self._mitigated(read, calibrated, min(FEW * tokens, calibrated), over)
        if self.chosen.library:
            stages["methods of libraries"] = len(self.chosen.library) * (self._loading + read * rates.plain)
        models = len(self._request.models)
        rest = (models - 1) * self._loading
        return {**{name: models * seconds for name, seconds in stages.items()}, "loading": rest, DRAWING: self._drawing}

    def _mitigated(self, read: int, calibrated: int, few: int, over: int) -> float:
        """Seconds of all mitigations, each probe once under each; a probe takes the mean of what its parts took.

        Args:
            read: tokens that are evaluated.
            calibrated: tokens that calibrate.
            few: those of them that searches run on.
            over: those of them that rankings run on.
        """
        rates, probes = self.rates, self.chosen.probes.values()
        passes = sum(map(_parts, probes))
        once, entering = rates.probed / passes, rates.entering / passes
        changing = any(mitigation.changes_model for mitigation in self._mitigations.values())
        seconds = calibrated * rates.calibrating if changing else 0.0  # what modules read before
        for mitigation in self._mitigations.values():
            applying = sum(mitigation.applies_to(probe) for probe in probes)
            seconds += mitigation.passes(applying) * (few * once + entering) + applying * (read * once + entering)
            if mitigation.ranks:
                ranked = 2 * min(SHORTLIST, self._request.settings.rank_limit, self._modules) + 3
                seconds += applying * ranked * (over * once + entering)
            if mitigation.changes_model:
                seconds += 2 * calibrated * rates.calibrating + read * rates.plain
        return seconds

    def seconds(self, sequences: int, tokens: int) -> float:
        """All of it."""
        return sum(self.stages(sequences, tokens).values())


def settled(
    loaded: Loaded,
    request: QuantizationRequest,
    costs: Costs,
    machine: Machine,
    *,
    started: float,
) -> tuple[Windows, Forecast]:
    """The windows of a comparison, chosen where it has a budget, and its plan, which is said where stages are shown.

    Args:
        loaded: the first model.
        request: as it was asked for.
        costs: what its parts take.
        machine: what was free before the model was loaded.
        started: when the work began, on `time.perf_counter`.

    Raises:
        RequestError: if nothing fits the budget.
    """
    windows = request.windows
    longest = windows.tokens or default_tokens(loaded.model.config)
    lengths = [windows.tokens] if windows.tokens is not None else lengths_of(longest)
    by_length = {tokens: (lambda count, tokens=tokens: costs.seconds(count, tokens)) for tokens in lengths}
    settled_windows = replace(windows, sequences=windows.count, tokens=longest)
    if windows.budget is not None:
        left = seconds_of(windows.budget) - (time.perf_counter() - started)
        fits = fitting(left, by_length, sequences=windows.sequences, most=DEFAULT_SEQUENCES)
        if fits is None:
            count, spent = windows.sequences or 1, seconds_of(windows.budget) - left
            raise refusal(windows.budget, in_words(count, lengths[0]), spent + costs.seconds(count, lengths[0]), *_LESS)
        settled_windows = replace(windows, sequences=fits.sequences, tokens=fits.tokens)
    sequences, tokens = settled_windows.count, settled_windows.tokens or longest
    expected = costs.stages(sequences, tokens)
    chosen = {}
    if windows.budget is not None:
        given = {"sequences": windows.sequences, "tokens": windows.tokens}
        chosen = {n: v for n, v in (("sequences", sequences), ("tokens", tokens)) if given[n] is None}
    short = None
    if sum(expected.values()) > LONG:
        small = {t: (lambda count, t=t: costs.seconds(count, t)) for t in lengths_of(tokens)}
        found = fitting(SHORT, small, sequences=None, most=min(sequences, 4))
        short = None if found is None else ({"sequences": found.sequences, "tokens": found.tokens}, found.seconds)
    models, library = len(request.models), ", ".join(costs.chosen.library)
    what = f"{models} models, " if models > 1 else ""
    under = len(request.settings.mitigate) - 1
    what += f"{len(costs.chosen.order)} methods{f' and {under} mitigations' if under else ''} on "
    what += in_words(sequences, tokens)
    forecast = Forecast(
        work=what + (f", {library} taken to be as fast as no method" if library else ""),
        expected=expected,
        trial=costs.trial,
        rate=1 / costs.rates.plain,
        memory=forward_memory(loaded.model, machine, tokens=tokens, batch_size=windows.batch_size),
        budget=windows.budget,
        chosen=chosen,
        shorter=short,
    )
    say_plan(forecast.line(), expected)
    return settled_windows, forecast


def _rates(loaded: Loaded, request: QuantizationRequest, chosen: Chosen, input_ids: Tensor) -> Rates:
    model, settings = loaded.model, request.settings
    tried = input_ids[:, :_TRIED]
    rows, tokens = tried.shape
    count = sample_size(model)
    scale = len(family_of(model).decoder_layers(model)) / count
    batch = batches_of(tried, None, rows)[0]
    head = seconds_of_head(model, rows, tokens)

    def through() -> float:
        with frozen(model), torch.no_grad():
            return timed(lambda: _decode(loaded, batch))

    with first_layers(model, count):
        through()  # the first pass loads kernels
        plain = scale * through()
        calibrating = probed = entering = noise = ranked = 0.0
        if chosen.probes:
            places = linears(model, settings.modules)
            started = now()
            calibration = calibrate(model, places, [batch])
            whole = now() - started
            calibrating = scale * max(whole - head, 0.0) + head  # its pass runs the head as well
            probes = [
                CalibratedProbe(name, probe, probe.places(model, settings.modules), calibration)
                for name, probe in chosen.probes.items()
            ]
            for one in probes:
                parts = _parts(one.probe)
                started = now()
                with one.entered(model):
                    once = through()
                enters = scale * max(now() - started - once, 0.0)
                probed += parts * (scale * once + head)
                entering += parts * enters
                if one.name == settings.rank_by:
                    ranked = scale * once + head
            whole = timed(lambda: measure_noise(model, loaded.name, probes, [batch]))
            noise = scale * max(whole - head, 0.0) + head
    analysis = Trial(model, Resident(model), Settings(backward=False), tried).at(tokens)
    per = rows * tokens
    return Rates(
        (plain + head) / per, calibrating / per, probed / per, entering, noise / per, ranked / per,
        (analysis.body + analysis.head) / per,
    )  # fmt: skip


def _parts(probe: Probe) -> int:
    """How many times a probe's losses are taken: of weights, activations and both, where it rounds both."""
    return 3 if probe.weight_bits is not None and probe.activation_bits is not None else 1


def _decode(loaded: Loaded, batch: Batch) -> None:
    decoder = family_of(loaded.model).decoder(loaded.model)
    decoder(input_ids=batch.input_ids.to(input_device(loaded.model)), use_cache=False)
