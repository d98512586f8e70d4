"""An evaluation from a model's name to a run: `sinkscope.evaluate`.

Whatever can be refused without the model is refused before it is loaded: sources, tasks and their data.
"""

import hashlib
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError
from sinkscope.evaluation.headline import evaluation_headline
from sinkscope.evaluation.perplexity import check, perplexity_tables, token_losses
from sinkscope.evaluation.plan import Costs, is_wanted, memory_for, planned, say_tasks_alone
from sinkscope.evaluation.retrieval import ask_needles, plan_needles
from sinkscope.evaluation.settings import DEFAULT_DOCUMENTS, DEFAULT_SEEDS, EvaluationRequest, EvaluationSettings
from sinkscope.evaluation.tasks import load_tasks, run_tasks
from sinkscope.evaluation.texts import Text, prefix_token, read_texts
from sinkscope.evaluation.yarn import extend_
from sinkscope.inputs import MethodOptions, ModelSource, TextSource, Windows
from sinkscope.keywords import MethodFields, ModelFields, listing, made_of, refuse_unknown, text_source
from sinkscope.loading.describe import describe
from sinkscope.loading.load import Loaded
from sinkscope.loading.named import model_source
from sinkscope.methods.calibration_text import CalibrationText, Counted, calibration_text, named_text
from sinkscope.methods.under import Under, asked
from sinkscope.models.shape import context_of, default_tokens
from sinkscope.passes.memory import peak_memory
from sinkscope.planning.machine import this_machine
from sinkscope.progress.display import showing, stage
from sinkscope.provenance.begin import LIBRARIES, begin, library_versions
from sinkscope.results import Result
from sinkscope.tables.run_folder import Run
from sinkscope.text.sources import open_documents, open_text
from sinkscope.text.stdlib import STDLIB

CONVENTIONS = {
    "words": "separated by whitespace",
    "windows": "each token scored once; after the first, a window scores its last `stride` tokens",
    "intervals": "95 %: bootstrap over documents (over windows if under 10), Wilson's for needles",
    "needles": "found if the greedy answer contains the value, whatever its case",
    "accuracy_mean": "unweighted mean over tasks of `acc`",
}
SHORT_CONTEXT = 512  # below, half of the context has no room for most needles


class Evaluation(Result):
    """A finished evaluation: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`."""


class EvaluationFields(ModelFields, MethodFields, total=False):
    """The fields of `ModelSource` and of `MethodOptions`, and the budget of `Windows`, as keyword arguments."""

    budget: str | None


@listing(ModelSource, MethodOptions, Windows)
def evaluate(
    model: str | Path | ModelSource | PreTrainedModel = "demo",
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    data: str | Path | TextSource = "stdlib",
    data_options: dict[str, Any] | None = None,
    haystack: str = "stdlib",
    bos: str = "auto",
    batch_size: int = 1,
    settings: EvaluationSettings | None = None,
    progress: bool | None = None,
    **fields: Unpack[EvaluationFields],
) -> Evaluation:
    """Evaluates a causal LM: perplexity, needles in a haystack, tasks of lm-evaluation-harness.

    Args:
        model: `demo`, a local folder or a hub id, or a `ModelSource`; or a loaded model, which YaRN extends in place.
        tokenizer: the tokenizer of a loaded model.
        data: the text whose perplexity is measured: `stdlib`, a .txt, .jsonl or .parquet file, a folder of them, or the
            name of a `datasets` data set; or a `TextSource`.
        data_options: the other fields of `TextSource` (config, split, streaming, column, special_tokens).
        haystack: the text that hides needles, a source as `data` is.
        bos: `always` or `never` force or forbid a <bos> before documents and prompts; `auto` follows the tokenizer.
        batch_size: windows, prompts or requests per forward pass.
        settings: what to evaluate.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.
        **fields: the other fields of `ModelSource` (revision, dtype, device, quantize, ...), those of `MethodOptions`
            (calibration_data, modules, ...), and `budget`, a time to fit, as `5m`, which chooses what of the
            settings' documents and seeds is not given.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    refuse_unknown(fields, EvaluationFields, evaluate)
    source, loaded = model_source(model, fields)
    request = EvaluationRequest(
        model=source,
        method=made_of(MethodOptions, fields),
        text=text_source(data, data_options),
        windows=made_of(Windows, fields, bos=bos, batch_size=batch_size),
        haystack=haystack,
        settings=settings or EvaluationSettings(),
    )
    return run_evaluation(request, loaded, tokenizer, progress=progress)


@showing
def run_evaluation(
    request: EvaluationRequest,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    progress: bool | None = None,  # noqa: ARG001  (read by `showing`)
) -> Evaluation:
    """Makes the evaluation that a request asks for.

    Args:
        request: the evaluation.
        model: a model in memory, in the place of the named one.
        tokenizer: its tokenizer.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    started = time.perf_counter()
    settings, bos, batch_size = request.settings, request.windows.bos, request.windows.batch_size
    under = asked(request.model, request.method, caches=True)
    _refuse(under, settings, batch_size)
    if request.windows.budget is not None and not (settings.perplexity or settings.variants):
        raise RequestError("`budget` chooses documents and needles, and there are none: use `limit` for tasks")
    documents = Counted(open_text(request.text) if settings.perplexity else iter(()))
    hay = Counted(open_documents(request.haystack) if settings.variants else iter(()))
    if under.calibrates:
        open_text(named_text(request.text, request.method))
    tasks = load_tasks(settings.tasks, settings.tasks_path) if settings.tasks else None
    loaded = None
    machine = this_machine()
    stage("loading")
    if model is None:
        loaded = under.load(tokenizer=tokenizer)
        model, tokenizer = loaded.model, loaded.tokenizer
    if tokenizer is None:
        raise RequestError("a loaded model needs its tokenizer to be evaluated")
    _extend_(model, settings)
    if loaded is not None and not under.calibrates:
        loaded = under.put(loaded, again=lambda new: _extend_(new, settings))
        model = loaded.model
    given, settings = settings, _completed(settings, model)
    stage("reading text")
    tables: dict[str, pd.DataFrame] = {}
    texts: list[Text] = []
    plan = []
    if settings.variants:
        plan = plan_needles(model, tokenizer, hay, settings, settings.lengths or (), bos=bos)
    if settings.perplexity:
        count = settings.documents or DEFAULT_DOCUMENTS
        texts = read_texts(documents, tokenizer, count=count, characters=settings.characters)
        check(model, texts, settings.window or 0, settings.stride or 0, batch_size)
    forecast = None
    if is_wanted(request.windows.budget):
        memory = memory_for(model, under.held_as, machine, settings, batch_size)
    if is_wanted(request.windows.budget) and not (plan or texts):
        say_tasks_alone(len(settings.tasks), memory)
    elif is_wanted(request.windows.budget):
        stage("planning")
        with under.entered(model):
            costs = Costs(model, tokenizer, settings, texts, plan, batch_size)
        share, forecast = planned(
            given, costs, len(texts), budget=request.windows.budget, started=started,
            memory=memory, tasks=len(settings.tasks),
        )  # fmt: skip
        if request.windows.budget is not None:
            texts, plan = texts[: share.documents], [cell for cell in plan if cell.seed < share.seeds]
            settings = replace(
                settings, documents=share.documents or settings.documents, seeds=share.seeds or settings.seeds
            )
    if loaded is not None and under.calibrates:
        text = _calibration(under, loaded, request, settings, documents, hay)
        loaded = under.put(loaded, text, again=lambda new: _extend_(new, settings))
        model = loaded.model
    with under.entered(model):
        if settings.perplexity:
            losses = token_losses(
                model, texts, prefix=prefix_token(tokenizer, bos), window=settings.window or 0,
                stride=settings.stride or 0, batch_size=batch_size,
            )  # fmt: skip
            tables |= perplexity_tables(losses, texts, draws=settings.draws, seed=settings.seed)
        if plan:
            tables |= ask_needles(model, tokenizer, plan, batch_size=batch_size, cache=under.generation)
        if tasks is not None:
            stage("tasks")
            tables["tasks"] = run_tasks(
                tasks, model, tokenizer, limit=settings.limit, batch_size=batch_size, draws=settings.draws,
            )  # fmt: skip
    info = begin(
        "evaluation",
        model={
            **describe(model),
            **(loaded.description if loaded else {}),
            "context": context_of(model.config),
            "yarn": settings.yarn,
        },
        data=_data(texts, tokenizer, request),
        device=str(model.device),
        seconds=time.perf_counter() - started,
        peak_memory_bytes=peak_memory(model.device),
        settings={**asdict(settings), "batch_size": batch_size},
        conventions=CONVENTIONS,
        versions=library_versions((*LIBRARIES, "lm_eval") if tasks is not None else LIBRARIES),
        headline=evaluation_headline(tables),
        **({} if forecast is None else {"plan": forecast.as_json()}),
    )
    return Evaluation(Run(info, tables))


def _refuse(under: Under, settings: EvaluationSettings, batch_size: int) -> None:
    """Refuses what a cache of few bits cannot be measured by."""
    if under.cache is None:
        return
    if batch_size > 1:
        raise RequestError(
            f"`quantize={under.name}` rounds by positions that count from a text's first token, and batches are "
            "padded: use `batch_size=1`"
        )
    if under.generation is not None and (settings.perplexity or settings.tasks):
        raise RequestError(
            f"`quantize={under.name}` rounds the cache of generation alone, which perplexity and most tasks never "
            "read: use `perplexity=False` and leave out `tasks`"
        )


def _extend_(model: PreTrainedModel, settings: EvaluationSettings) -> None:
    if settings.yarn is not None:
        extend_(model, settings.yarn)


def _calibration(
    under: Under,
    loaded: Loaded,
    request: EvaluationRequest,
    settings: EvaluationSettings,
    documents: Counted,
    hay: Counted,
) -> CalibrationText:
    """The text to calibrate on, in windows as long as the model reads at once; not what is evaluated, unless named."""
    evaluated = ((request.text.data, documents), (request.haystack, hay))
    return calibration_text(
        loaded.model,
        loaded.tokenizer,
        request.text,
        replace(request.windows, tokens=settings.window),
        under.options,
        read=max([counted.read for source, counted in evaluated if source == STDLIB], default=0),
    )


def _completed(settings: EvaluationSettings, model: PreTrainedModel) -> EvaluationSettings:
    """The settings with what follows from the model filled in, as run.json records them."""
    longest = default_tokens(model.config)
    window = settings.window or longest
    lengths = settings.lengths or ((longest // 2, longest) if longest >= SHORT_CONTEXT else (longest,))
    return replace(
        settings,
        documents=settings.documents or DEFAULT_DOCUMENTS,
        seeds=settings.seeds or DEFAULT_SEEDS,
        window=window if settings.perplexity else None,
        stride=(settings.stride or max(window // 2, 1)) if settings.perplexity else None,
        lengths=lengths if settings.variants else None,
    )


def _data(texts: list[Text], tokenizer: PreTrainedTokenizerBase, request: EvaluationRequest) -> dict[str, Any]:
    """What was read; the hash is that of the texts, each followed by a zero byte."""
    haystack = request.haystack if request.settings.variants else None
    if not texts:
        return {"source": haystack or "tasks", "haystack": haystack}
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.text.encode("utf-8") + b"\0")
    return {
        **request.text.provenance(),
        "sha256": digest.hexdigest(),
        "documents": len(texts),
        "tokens": sum(len(text.ids) for text in texts),
        "words": sum(text.words for text in texts),
        "bytes": sum(text.size for text in texts),
        "prefix": str(tokenizer.convert_ids_to_tokens(prefix_token(tokenizer, request.windows.bos))),
        "haystack": haystack,
    }
