"""`sinkscope.quantize`: what each method costs each model, on the same windows of text.

    analysis = sinkscope.quantize(["demo", "demo-vscale"], ["none", "w8a8-static", "nf4"])
    analysis.quantization                    # a DataFrame, as declared in docs/tables.md
    analysis.save("runs/quantization")       # the run folder, with figures and report.pdf

One model is in memory at a time. The probes share it, unquantized; every library method loads it anew.
"""

import gc
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel

from sinkscope.analysis.measure import measure
from sinkscope.analysis.run import Analysis
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.loading.load import Loaded, load_model
from sinkscope.passes.batches import batches_of, check_windows
from sinkscope.passes.memory import explained_memory_errors, peak_memory
from sinkscope.provenance.begin import LIBRARIES, begin, library_versions
from sinkscope.quantization.calibration import calibrate
from sinkscope.quantization.changes import change, compare
from sinkscope.quantization.histograms import histograms
from sinkscope.quantization.library.method import Request
from sinkscope.quantization.linear_modules import linears
from sinkscope.quantization.methods import DEFAULT, NONE, Chosen, choose
from sinkscope.quantization.noise import measure_noise
from sinkscope.quantization.probes import Plan
from sinkscope.quantization.ranking import losses, mean_loss, noisiest, rank
from sinkscope.tables.rows import Rows
from sinkscope.tables.run_folder import Run
from sinkscope.text.packing import Packed
from sinkscope.text.sources import open_documents
from sinkscope.text.windows import pack_for
from sinkscope.vscale.attach import attached

WORST = 4  # modules whose histograms are kept
RANKED_BY = "w8a8-static"  # where it is among the methods; else the first probe
CONVENTIONS = {
    "probe": "code = clamp(round_half_even(x / scale), -n, n), n = 2^(bits-1) - 1, scale = largest |x| / n in float32",
    "probe_modules": "linear modules inside the decoder layers; lm_head is left alone",
    "static": "largest |x| of the unquantized model over the calibration windows",
    "delta": "loss minus that of the unquantized model on the same windows, nats per token",
    "intervals": "95 %, percentile bootstrap over sequences, 10,000 draws; paired for delta",
    "sqnr": "10 log10(sum x^2 / sum (x - x_hat)^2), per module, on its input in the unquantized model",
    "ranking": "each module alone, and all but it, on the first windows; no interval",
}
_PACKAGES = ("bitsandbytes", "torchao", "compressed_tensors")


@dataclass(frozen=True)
class _Options:
    """What a run was asked for; recorded as the settings in run.json."""

    methods: list[str]
    modules: str | None
    calibration_data: str | None
    calibration_sequences: int
    rank_by: str | None
    rank_sequences: int
    rank_limit: int
    seed: int
    batch_size: int


@dataclass(frozen=True)
class _Text:
    """Where windows come from."""

    data: str
    data_options: dict[str, Any]
    sequences: int
    tokens: int | None
    bos: str
    isolate_documents: bool


@dataclass
class _Found:
    """What was measured so far: parts of tables, and what is known of each model."""

    parts: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    windows: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    targets: int = 0
    device: str = ""
    peak_memory: int = 0

    def add(self, table: str, part: pd.DataFrame) -> None:
        self.parts.setdefault(table, []).append(part)

    def table(self, name: str) -> pd.DataFrame:
        parts = [part for part in self.parts.get(name, []) if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else Rows(name).frame()


def quantize(
    models: str | Path | Sequence[str | Path],
    methods: Sequence[str] = DEFAULT,
    *,
    modules: str | None = None,
    data: str = "stdlib",
    data_options: dict[str, Any] | None = None,
    sequences: int = 32,
    tokens: int | None = None,
    batch_size: int = 1,
    bos: str = "auto",
    isolate_documents: bool = False,
    calibration_data: str | None = None,
    calibration_sequences: int | None = None,
    rank_by: str | None = None,
    rank_sequences: int = 4,
    rank_limit: int = 64,
    seed: int = 0,
    allow_install: bool = False,
    environment: Path | None = None,
    progress: bool = False,
    **loading: Any,
) -> Analysis:
    """Measures what quantization methods cost models.

    Args:
        models: `demo`, local folders or hub ids, in full precision.
        methods: names of `quantization.methods`; `none` is always measured, as everything is compared with it.
        modules: shell patterns, separated by commas, of the linear modules that the probes quantize; all by default.
        data: `stdlib`, a .txt, .jsonl or .parquet file, a folder of them, or the name of a `datasets` data set.
        data_options: options of `sinkscope.text.sources.open_documents`.
        sequences: N, windows of text.
        tokens: T; by default the first model's context, at most 2048.
        batch_size: windows per forward pass.
        bos: `always` or `never` force or forbid a <bos> at the start of each window; `auto` follows the tokenizer.
        isolate_documents: keep packed documents from attending to each other.
        calibration_data: a source of text to calibrate on; by default the evaluated windows.
        calibration_sequences: windows of it; by default N.
        rank_by: the probe by which modules are ranked; by default w8a8-static or else the first probe.
        rank_sequences: windows that the ranking runs on; 0 leaves it out.
        rank_limit: rank this many modules, those with the noisiest outputs.
        seed: of the bootstrap.
        allow_install: whether methods may install what they need into an environment of their own.
        environment: where that environment is.
        progress: show progress on stderr.
        **loading: options of `sinkscope.loading.load.load_model` (revision, dtype, device, ...), for every model.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    started = time.perf_counter()
    names = [str(models)] if isinstance(models, str | Path) else [str(model) for model in models]
    if not names or len(set(names)) < len(names):
        raise RequestError("name at least one model, and each of them once")
    if "quantize" in loading:
        raise RequestError("the models to compare are loaded in full precision: name methods instead")
    chosen = choose(methods, allow_install=allow_install, environment=environment)
    _check(chosen, modules, rank_by, rank_sequences, rank_limit, calibration_data, calibration_sequences)
    text = _Text(data, data_options or {}, sequences, tokens, bos, isolate_documents)
    open_documents(data, **text.data_options)  # so that a mistyped source fails before a large model loads
    if calibration_data is not None:
        open_documents(calibration_data, **text.data_options)
    options = _Options(
        chosen.order,
        modules,
        calibration_data,
        calibration_sequences if calibration_sequences is not None else sequences,
        _ranked_by(chosen, rank_by) if rank_sequences else None,
        rank_sequences,
        rank_limit,
        seed,
        batch_size,
    )
    found = _Found()
    for name in names:
        request = Request(name, loading, torch.empty(0), batch_size, allow_install, environment)
        text = _measure_model(request, chosen, options, text, found, progress=progress)
    return Analysis(_run(found, chosen, options, text, started))


def _check(
    chosen: Chosen,
    modules: str | None,
    rank_by: str | None,
    rank_sequences: int,
    rank_limit: int,
    calibration_data: str | None,
    calibration_sequences: int | None,
) -> None:
    """Refuses options that contradict the methods or each other."""
    complaints = {
        f"`modules` selects modules for the probes, and {next(iter(chosen.library), '')} quantizes what its library "
        "does: leave out one of the two": modules is not None and bool(chosen.library),
        "`modules` selects modules for the probes, and `methods` names none": modules is not None and not chosen.probes,
        f"`rank_by={rank_by}` is none of the probes among `methods`": rank_by is not None
        and rank_by not in chosen.probes,
        "`rank_sequences` must be at least 0": rank_sequences < 0,
        "`rank_limit` must be at least 1": rank_limit < 1,
        "`calibration_sequences` needs `calibration_data`": calibration_sequences is not None
        and calibration_data is None,
        "`calibration_sequences` must be at least 1": calibration_sequences is not None and calibration_sequences < 1,
    }
    for complaint, applies in complaints.items():
        if applies:
            raise RequestError(complaint)


def _ranked_by(chosen: Chosen, rank_by: str | None) -> str | None:
    if rank_by is not None:
        return rank_by
    return RANKED_BY if RANKED_BY in chosen.probes else next(iter(chosen.probes), None)


def _measure_model(
    request: Request, chosen: Chosen, options: _Options, text: _Text, found: _Found, *, progress: bool
) -> _Text:
    """Measures one model by all methods; returns the text with the length of its windows settled."""
    label = request.model
    loaded = load_model(label, **request.loading)
    if loaded.quantization is not None:
        raise SinkscopeError(
            f"{label} is quantized already ({loaded.quantization}): name the full-precision model that it was made from"
        )
    packed = _pack(loaded, text.data, text, text.sequences)
    text = _Text(**{**asdict(text), "tokens": packed.input_ids.shape[1]})
    calibration = packed
    if options.calibration_data is not None:
        calibration = _calibration_windows(loaded, options.calibration_data, text, options.calibration_sequences)
    check_windows(loaded.model, packed.input_ids, options.batch_size)
    request = Request(**{**vars(request), "calibration_ids": calibration.input_ids})
    with explained_memory_errors(options.batch_size):
        _unquantized(loaded, label, packed, calibration, chosen, options, text, found, progress=progress)
        has_vscale = loaded.vscale is not None
        del loaded
        for name, method in chosen.library.items():
            _free()
            model = method.load(request)
            if has_vscale and not attached(model):
                raise SinkscopeError(f"{name} lost the V-scale of {label}")
            batches = batches_of(packed.input_ids, _documents(packed, text), options.batch_size)
            _add_losses(found, label, name, losses(model, batches, f"{label}: {name}", progress=progress))
            found.peak_memory = max(found.peak_memory, peak_memory(model.device))
            found.versions |= method.versions(request.environment)
            if has_vscale and method.vscale_note:
                found.notes.append(f"{label}, {name}: {method.vscale_note}.")
            del model
    _free()
    return text


def _unquantized(
    loaded: Loaded,
    label: str,
    packed: Packed,
    calibration_text: Packed,
    chosen: Chosen,
    options: _Options,
    text: _Text,
    found: _Found,
    *,
    progress: bool,
) -> None:
    """Everything that needs the unquantized model: the baseline, the probes, noise, ranking, outliers."""
    model = loaded.model
    batches = batches_of(packed.input_ids, _documents(packed, text), options.batch_size)
    exact = losses(model, batches, f"{label}: {NONE}", progress=progress)
    if not exact["loss_sum"].map(pd.notna).all() or exact["loss_sum"].max() == float("inf"):
        raise SinkscopeError(f"the loss of {label} is not finite before any quantization: try float32 or bfloat16")
    _add_losses(found, label, NONE, exact)
    widest = 0.0
    if chosen.probes:
        places = linears(model, options.modules)
        reading = batches_of(calibration_text.input_ids, _documents(calibration_text, text), options.batch_size)
        calibration = calibrate(model, places, reading, progress=progress)
        widest = max(calibration.values())
        plans = [Plan(name, p, p.places(model, options.modules), calibration) for name, p in chosen.probes.items()]
        for plan in plans:
            _probe(model, label, plan, batches, exact, found, seed=options.seed, progress=progress)
        found.add("noise", measure_noise(model, label, plans, batches, progress=progress))
        _worst(model, label, plans, packed, text, options, found, progress=progress)
    seen = measure(
        model,
        packed.input_ids,
        settings=_settings(packed),
        batch_size=options.batch_size,
        document_ids=_documents(packed, text),
        tokenizer=loaded.tokenizer,
        progress=progress,
    )
    _add_outliers(found, label, seen, widest)
    found.models.append({**seen.info["model"], **loaded.description})
    found.windows[label] = packed.sha256
    found.targets = int(exact["targets"].sum())
    found.device = str(model.device)
    found.peak_memory = max(found.peak_memory, peak_memory(model.device))


def _probe(
    model: PreTrainedModel,
    label: str,
    plan: Plan,
    batches: list[Any],
    exact: pd.DataFrame,
    found: _Found,
    *,
    seed: int,
    progress: bool,
) -> None:
    """The losses of a probe, and of its parts where it rounds both weights and activations."""
    both = plan.probe.weight_bits is not None and plan.probe.activation_bits is not None
    rows = Rows("parts")
    for part, probe in plan.probe.parts().items():
        if part != "both" and not both:
            continue
        of_part = Plan(plan.name, probe, plan.places, plan.calibration)
        with of_part.entered(model):
            measured = losses(model, batches, f"{label}: {plan.name}, {part}", progress=progress)
        if both:
            rows.add(model=label, method=plan.name, part=part, loss=mean_loss(measured),
                     **change(measured, exact, seed=seed))  # fmt: skip
        if part == "both":
            _add_losses(found, label, plan.name, measured)
    found.add("parts", rows.frame())


def _worst(
    model: PreTrainedModel,
    label: str,
    plans: list[Plan],
    packed: Packed,
    text: _Text,
    options: _Options,
    found: _Found,
    *,
    progress: bool,
) -> None:
    """The ranking, and histograms of its first modules."""
    plan = next((plan for plan in plans if plan.name == options.rank_by), None)
    if plan is None:
        return
    noise = found.parts["noise"][-1]
    ranked = noisiest(noise[noise["method"] == plan.name], plan.places, options.rank_limit)
    documents = _documents(packed, text)
    first = slice(0, options.rank_sequences)
    few = batches_of(packed.input_ids[first], None if documents is None else documents[first], options.batch_size)
    ranking = rank(model, label, plan, ranked, few, progress=progress)
    found.add("ranking", ranking)
    by_name = {place.name: place for place in plan.places}
    worst = [by_name[name] for name in ranking["module"][:WORST]]
    batches = batches_of(packed.input_ids, documents, options.batch_size)
    rows = noise[noise["method"] == plan.name]
    largest = dict(zip(rows["module"].tolist(), rows["activation_absmax"].tolist(), strict=True))
    found.add("histograms", histograms(model, label, worst, largest, batches).frame())


def _pack(loaded: Loaded, source: str, text: _Text, sequences: int) -> Packed:
    documents = open_documents(source, **text.data_options)
    return pack_for(loaded.model, loaded.tokenizer, documents, sequences, text.tokens, text.bos)


def _calibration_windows(loaded: Loaded, source: str, text: _Text, sequences: int) -> Packed:
    try:
        return _pack(loaded, source, text, sequences)
    except SinkscopeError as error:
        hint = str(error).replace("`sequences`", "`calibration_sequences`")
        raise type(error)(f"`calibration_data={source}`: {hint}") from error


def _documents(packed: Packed, text: _Text) -> "torch.Tensor | None":
    return packed.document_ids if text.isolate_documents else None


def _settings(packed: Packed) -> Settings:
    """A forward-only analysis of windows that may be shorter than the defaults."""
    tokens = packed.input_ids.shape[1]
    return Settings(backward=False, early=min(Settings.early, tokens - 1), positions=min(Settings.positions, tokens))


def _add_losses(found: _Found, label: str, method: str, measured: pd.DataFrame) -> None:
    rows = Rows("losses")
    rows.add(model=label, method=method, sequence=range(len(measured)), loss_sum=measured["loss_sum"].to_numpy(),
             targets=measured["targets"].to_numpy())  # fmt: skip
    found.add("losses", rows.frame())


def _add_outliers(found: _Found, label: str, seen: Run, widest: float) -> None:
    head = seen.info["headline"]
    rows = Rows("outliers")
    rows.add(
        model=label,
        abs_max=head["abs_max"],
        abs_max_over_median=head["abs_max_over_median"],
        kurtosis_max=head["kurtosis_max"],
        linear_absmax=widest if widest else float("nan"),
        sink_rate_mean=head["sink_rate_mean"],
        sink_rate_max=head["sink_rate_max"],
        massive_count=head["massive_count"],
    )
    found.add("outliers", rows.frame())


def _run(found: _Found, chosen: Chosen, options: _Options, text: _Text, started: float) -> Run:
    table = compare(found.table("losses"), chosen, found.windows, seed=options.seed)
    tables = {"quantization": table, **{name: found.table(name) for name in ("losses", "outliers")}}
    for name in ("parts", "noise", "ranking", "histograms"):
        if name in found.parts:
            tables[name] = found.table(name)
    info = begin(
        "quantization",
        models=found.models,
        data={
            "source": text.data,
            "sha256": found.windows,
            "sequences": text.sequences,
            "tokens": text.tokens,
            "bos": text.bos,
            "isolated_documents": text.isolate_documents,
            "targets": found.targets,
            "comparable": len(set(found.windows.values())) == 1,
        },
        notes=found.notes,
        device=found.device,
        seconds=time.perf_counter() - started,
        peak_memory_bytes=found.peak_memory,
        settings={**asdict(options), "backward": False},
        conventions=CONVENTIONS,
        versions={**library_versions((*LIBRARIES, *filter(find_spec, _PACKAGES))), **found.versions},
        headline={
            model: table[table["model"] == model].set_index("method")[["perplexity", "delta"]].to_dict("index")
            for model in found.windows
        },
    )
    return Run(info, tables)


def _free() -> None:
    """Gives back the memory of a model that is no longer referred to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
