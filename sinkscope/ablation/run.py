"""What `sinkscope.ablate` does: a model loses its outliers, one kind after another, against as much elsewhere.

result = sinkscope.ablate("demo", run="runs/demo", what=["massive-zero", "sink-attention"])
result.ablations                       # a DataFrame, as declared in docs/tables.md
with sinkscope.ablate.massive(model, run):
    model.generate(...)                # the same by hand
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.ablation.assemble import headline, super_weights, tables
from sinkscope.ablation.kept import KIND, Kept
from sinkscope.ablation.known import analysis_at, check_same_shape, check_same_weights
from sinkscope.ablation.plan import Costs, settled
from sinkscope.ablation.settings import (
    ALL,
    AblationFields,
    AblationRequest,
    AblationSettings,
)
from sinkscope.ablation.steps.choose import Chosen
from sinkscope.ablation.steps.step import Subject
from sinkscope.ablation.targets import Targets
from sinkscope.ablation.work import Work
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.evaluation.retrieval import Cell, plan_needles
from sinkscope.evaluation.settings import EvaluationSettings
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows
from sinkscope.interventions.weights import SuperWeight
from sinkscope.keywords import (
    MethodFields,
    ModelFields,
    OutputFields,
    WindowFields,
    listing,
    made_of,
    refuse_unknown,
    text_source,
)
from sinkscope.loading.describe import describe
from sinkscope.loading.load import Loaded
from sinkscope.loading.named import model_source
from sinkscope.methods.calibration_text import Counted, calibration_text, named_text
from sinkscope.methods.under import Under, asked
from sinkscope.models.shape import default_tokens
from sinkscope.passes.batches import check_windows
from sinkscope.passes.memory import peak_memory
from sinkscope.planning.forecast import Forecast
from sinkscope.planning.machine import Machine, this_machine
from sinkscope.progress.display import showing, stage, wants_plan
from sinkscope.provenance.begin import begin, library_versions
from sinkscope.results import Result
from sinkscope.tables.run_folder import Run
from sinkscope.text.packing import Packed
from sinkscope.text.sources import open_documents, open_text
from sinkscope.text.stdlib import STDLIB
from sinkscope.text.windows import check_context, pack_for
from sinkscope.unfinished import Unfinished, refuse_unfinished
from sinkscope.version import __version__

CONVENTIONS = {
    "massive": "|x| in a massive channel of the analysis over 100 and over 1000 times its median |x|; mean: of those",
    "first": "the first layer where at least half of the sequences with a massive entry in a channel have one",
    "sinks": "positions with a sink in at least half of the analysis's sequences; they attend to themselves as before",
    "cache": "N first tokens and K recent ones, the token that asks among these",
    "change": "of tokens whose predecessor is the same, nats per token; kl: sum p log(p / q), p untouched",
    "intervals": "95 %, Student's t with the spread of 10,000 paired bootstrap draws of sequences; controls: draws too",
    "super_weights": "largest |x| read and written by a down projection at one token, the written one massive",
}
_SHORTEST = 8  # tokens of a window
_WHERE_FROM = ("name", "data_sha256", "sinks", "massive_layers")


class Ablation(Result):
    """A finished ablation: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`."""


class AblationKeywords(ModelFields, MethodFields, WindowFields, OutputFields, AblationFields, total=False):
    """The fields of `ModelSource`, `MethodOptions`, `Windows`, `Output` and `AblationSettings`, as keywords."""


@listing(AblationSettings, ModelSource, MethodOptions, Windows, Output)
def ablate(
    model: str | Path | ModelSource | PreTrainedModel = "demo",
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    run: str | Path | Run | Result | None = None,
    what: str | Sequence[str] = (ALL,),
    data: str | Path | TextSource = "stdlib",
    data_options: dict[str, Any] | None = None,
    haystack: str = "stdlib",
    progress: bool | None = None,
    **fields: Unpack[AblationKeywords],
) -> Ablation:
    """Measures what a model loses with its outliers, each kind against as much taken away elsewhere.

    Args:
        model: `demo`, a local folder or a hub id, or a `ModelSource`; or a loaded model.
        tokenizer: the tokenizer of a loaded model.
        run: a run of `analyze` on the same model, or its folder; None measures first.
        what: names of interventions, or `all`.
        data: `stdlib`, a .txt, .jsonl or .parquet file, a folder of them, or the name of a `datasets` data set; or a
            `TextSource`.
        data_options: the other fields of `TextSource` (config, split, streaming, column).
        haystack: the text that hides needles, a source as `data` is.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.
        **fields: those of `AblationSettings` (where, layers, draws, measured, seed, ...), `ModelSource` (revision,
            dtype, device, quantize, ...), `MethodOptions`, `Windows` (sequences, tokens, budget, ...) and `Output`
            (out, resume, force: where the run is going to be saved, so that what is measured so far is kept beside
            it).

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    refuse_unknown(fields, AblationKeywords)
    source, loaded = model_source(model, fields)
    names = tuple(what.split(",")) if isinstance(what, str) else tuple(what)
    place = Path(run) if isinstance(run, str | Path) else None
    request = AblationRequest(
        model=source,
        method=made_of(MethodOptions, fields),
        text=text_source(data, data_options),
        windows=made_of(Windows, fields),
        haystack=haystack,
        settings=made_of(AblationSettings, fields, what=names, run=place),
        output=made_of(Output, fields),
    )
    analysis = None if run is None or place is not None else run
    return run_ablation(request, loaded, tokenizer, analysis=analysis, progress=progress)  # type: ignore[arg-type]


@showing
def run_ablation(
    request: AblationRequest,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    analysis: Run | Result | None = None,
    progress: bool | None = None,  # noqa: ARG001  (read by `showing`)
) -> Ablation:
    """Makes the ablation that a request asks for.

    Args:
        request: the ablation.
        model: a model in memory, in the place of the named one.
        tokenizer: its tokenizer.
        analysis: a run of `analyze` in memory, in the place of the one in the settings.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    started = time.perf_counter()
    settings = request.settings
    if request.windows.isolate_documents:
        raise RequestError("positions count from a window's first token: leave out `isolate_documents`")
    if request.output.out is not None and not request.output.force:
        refuse_unfinished(request.output.out, KIND, resume=request.output.resume)
    under = asked(request.model, request.method)
    under.refuse(backward=settings.backward and settings.measured > 0)
    given = analysis if analysis is not None else settings.run
    known = None if given is None else analysis_at(given)
    documents = Counted(open_text(request.text))
    hay = open_documents(request.haystack) if settings.needles else iter(())
    machine, loaded = this_machine(), None
    stage("loading")
    if model is None:
        loaded = under.load(tokenizer=tokenizer)
        model, tokenizer = loaded.model, loaded.tokenizer
    if tokenizer is None:
        raise RequestError("a loaded model needs its tokenizer to be ablated")
    if known is not None:
        request = replace(request, windows=_as_analyzed(request.windows, known))
        if loaded is None:
            check_same_shape(known, describe(model))
    check_context(model, request.windows.tokens)
    if loaded is not None and not under.calibrates:
        loaded = under.put(loaded, backward=settings.backward and settings.measured > 0)
        model = loaded.model
    if loaded is not None and known is not None:
        check_same_weights(known, {**describe(model), **loaded.description, "quantization": loaded.quantization})
    request, forecast = _planned(model, request, machine, started=started)
    stage("reading text")
    windows = request.windows
    packed = pack_for(model, tokenizer, documents, windows.count, windows.tokens, windows.bos)
    check_windows(model, packed.input_ids, windows.batch_size)
    if packed.input_ids.shape[1] < _SHORTEST:
        raise RequestError(f"an ablation needs sequences of at least {_SHORTEST} tokens: use more `tokens`")
    if loaded is not None and under.calibrates:
        loaded = _calibrated(under, loaded, request, packed, documents)
        model = loaded.model
    work = Work(request, model, tokenizer, packed.input_ids, _kept(request, loaded, packed, known))
    targets = work.targets(known)
    cells = _needles(model, tokenizer, hay, request, packed.input_ids.shape[1])
    found = work.super_weights()
    chosen = Chosen(_subject(work, targets, found, packed), settings)
    measured, edges, failed = work.measured(chosen.steps, cells)
    made = tables(measured, edges, seed=settings.seed, margin=settings.margin)
    name = str((loaded.description if loaded else describe(model))["name"])
    made = {"ablations": made.pop("ablations"), "super_weights": super_weights(found, name), **made}
    info = begin(
        "ablation",
        model={**describe(model), **(loaded.description if loaded else {})},
        data={
            **request.text.provenance(),
            "sha256": packed.sha256,
            "sequences": len(packed.input_ids),
            "tokens": packed.input_ids.shape[1],
            "bos": packed.bos,
            "isolated_documents": False,
            "targets": packed.input_ids.numel() - len(packed.input_ids),
        },
        **{"from": _where_from(settings, known, targets)},
        notes=[*chosen.notes, *failed],
        device=str(model.device),
        seconds=time.perf_counter() - started,
        peak_memory_bytes=peak_memory(model.device),
        settings=_settings(request),
        conventions=CONVENTIONS,
        versions=library_versions(),
        headline=headline(made["ablations"]),
        **({} if forecast is None else {"plan": forecast.as_json()}),
    )
    return Ablation(Run(info, made), work.kept.discard)


def _as_analyzed(windows: Windows, known: Run) -> Windows:
    """Windows whose number and length, where they are not given, are those of the analysis."""
    data = known.info["data"]
    if windows.budget is not None:
        return windows
    return replace(windows, sequences=windows.sequences or data["sequences"], tokens=windows.tokens or data["tokens"])


def _planned(
    model: PreTrainedModel, request: AblationRequest, machine: Machine, *, started: float
) -> tuple[AblationRequest, Forecast | None]:
    """The request with its windows settled, and its plan where one is wanted."""
    windows = request.windows
    longest = windows.tokens or default_tokens(model.config)
    if windows.budget is None and not wants_plan():
        return replace(request, windows=replace(windows, sequences=windows.count, tokens=longest)), None
    stage("planning")
    costs = Costs(model, request.settings, min(windows.batch_size, windows.count), longest)
    settled_windows, forecast = settled(model, windows, costs, machine, started=started)
    return replace(request, windows=settled_windows), forecast


def _calibrated(under: Under, loaded: Loaded, request: AblationRequest, packed: Packed, documents: Counted) -> Loaded:
    """The model under a method that calibrates, on text behind that which is measured, unless a text is named."""
    open_text(named_text(request.text, request.method))
    text = calibration_text(
        loaded.model,
        loaded.tokenizer,
        request.text,
        replace(request.windows, tokens=packed.input_ids.shape[1]),
        request.method,
        read=documents.read if request.text.data == STDLIB else 0,
    )
    return under.put(loaded, text)


def _kept(request: AblationRequest, loaded: Loaded | None, packed: Packed, known: Run | None) -> Kept:
    """Where pieces are kept: beside the place of the run, where it has one."""
    output = request.output
    if output.out is None:
        return Kept(None)
    if loaded is None:
        raise SinkscopeError("a loaded model cannot be told from another: name its folder to keep a state at `out`")
    settings = {name: value for name, value in asdict(request.settings).items() if name != "run"}
    state = {
        "sinkscope": __version__,
        "versions": library_versions(),
        "model": {**describe(loaded.model), **loaded.description},
        "settings": settings,
        "windows": packed.sha256,
        "shape": list(packed.input_ids.shape),  # the hash is of all tokens in a row, however they are cut
        "batch_size": request.windows.batch_size,
        "haystack": request.haystack,
        "from": None if known is None else {"created": known.info["created"], "data": known.info["data"]},
        "device": str(loaded.model.device),
    }
    return Kept(Unfinished(output.out, KIND, state, resume=output.resume, force=output.force))


def _needles(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, hay: Any, request: AblationRequest, tokens: int
) -> list[Cell]:
    """The needles to ask for; none where they are not wanted."""
    settings = request.settings
    if not settings.needles:
        return []
    wanted = EvaluationSettings(
        perplexity=False, variants=("single_2",), lengths=settings.lengths or (tokens,), seeds=settings.seeds,
        seed=settings.seed,
    )  # fmt: skip
    return plan_needles(model, tokenizer, hay, wanted, wanted.lengths or (), bos=request.windows.bos)


def _subject(work: Work, targets: Targets, found: list[SuperWeight], packed: Packed) -> Subject:
    bos_token = work.tokenizer.bos_token_id
    return Subject(
        model=work.model,
        targets=targets,
        tokens=packed.input_ids.shape[1],
        bos=int(packed.input_ids[0, 0]) if packed.bos else None,
        bos_token=None if bos_token is None else int(bos_token),
        super_weights=found,
        renormalize=work.request.settings.renormalize,
    )


def _where_from(settings: AblationSettings, known: Run | None, targets: Targets) -> dict[str, Any]:
    name = settings.run.name if settings.run is not None else None
    sha256 = None if known is None else known.info["data"].get("sha256")
    return dict(zip(_WHERE_FROM, (name, sha256, list(targets.sinks), list(targets.massive)), strict=True))


def _settings(request: AblationRequest) -> dict[str, Any]:
    """What the numbers depend on beside model and text."""
    settings = asdict(request.settings)
    for name in ("run", "stream"):
        del settings[name]
    return {**settings, "batch_size": request.windows.batch_size}
