"""`sinkscope.analyze`: from a model and a text to an analysis.

`analyze` is the library's verb: it puts its keyword arguments into an `AnalysisRequest`. `run_analysis` makes the
analysis of such a request, for the library and the command line alike. It checks whatever can be refused before a model
is loaded, then loads the model, cuts the text into windows, chooses the driver of the passes, and measures.

analysis = sinkscope.analyze("demo")
analysis.heads                      # a DataFrame, as declared in docs/tables.md
analysis.figures()["sink_heatmap"]  # a matplotlib Figure
analysis.save("runs/demo")          # the run folder, with figures and reports
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.analysis.cpu_dtype import with_dtype
from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.journal import KIND, Journal
from sinkscope.analysis.measure import measure
from sinkscope.analysis.plan import Planning
from sinkscope.analysis.request import request_of
from sinkscope.analysis.settings import AnalysisRequest, DriverChoice, DriverFields
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.owner import owned
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows
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
from sinkscope.launch.group import Processes
from sinkscope.loading.load import Loaded
from sinkscope.loading.named import model_source
from sinkscope.loading.resolve import Resolved, resolve
from sinkscope.methods.calibration_text import CalibrationText, Counted, calibration_text, named_text
from sinkscope.methods.under import Under, asked
from sinkscope.names import RESIDENT, STREAMED
from sinkscope.passes.batches import as_windows
from sinkscope.planning.automatic import automatic_driver
from sinkscope.planning.forecast import Forecast
from sinkscope.planning.machine import this_machine
from sinkscope.progress.display import showing, stage
from sinkscope.provenance.begin import ordered
from sinkscope.results import Result
from sinkscope.tables.run_folder import Run
from sinkscope.text.packing import Packed
from sinkscope.text.sources import open_text
from sinkscope.text.stdlib import STDLIB
from sinkscope.text.windows import check_context, pack_for
from sinkscope.unfinished import refuse_unfinished, request_before


class Analysis(Result):
    """A finished analysis: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`."""


class AnalysisFields(ModelFields, MethodFields, WindowFields, OutputFields, DriverFields, total=False):
    """The fields of `ModelSource`, `MethodOptions`, `Windows`, `Output` and `DriverChoice`, as keyword arguments."""


@dataclass(frozen=True)
class LoadedInputs:
    """What a user of the library has in memory already, instead of its name.

    Attributes:
        model: a loaded model.
        tokenizer: its tokenizer; not needed with `input_ids`.
        input_ids: windows [N, T] that are measured instead of a text.
        document_ids: the document of each of their tokens [N, T].
    """

    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    input_ids: Tensor | None = None
    document_ids: Tensor | None = None


@listing(ModelSource, MethodOptions, Windows, DriverChoice, Output)
def analyze(
    model: str | Path | ModelSource | PreTrainedModel = "demo",
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    data: str | Path | TextSource = "stdlib",
    data_options: dict[str, Any] | None = None,
    input_ids: ArrayLike | None = None,
    document_ids: ArrayLike | None = None,
    settings: Settings | None = None,
    processes: Processes | None = None,
    progress: bool | None = None,
    **fields: Unpack[AnalysisFields],
) -> Analysis:
    """Measures attention sinks, gradient sinks and massive activations of a causal LM.

    Args:
        model: `demo`, a local folder or a hub id, or a `ModelSource`; or a loaded model.
        tokenizer: the tokenizer of a loaded model; not needed with `input_ids`.
        data: `stdlib`, a .txt, .jsonl or .parquet file, a folder of them, or the name of a `datasets` data set; or a
            `TextSource`.
        data_options: the other fields of `TextSource` (config, split, streaming, column, special_tokens).
        input_ids: measure these windows [N, T] instead of `data`: a tensor or array of integers, or lists of them.
        document_ids: the document of each token [N, T], used where `isolate_documents` is on.
        settings: what to measure.
        processes: share the sequences, and all return the analysis (`sinkscope.launch.group.together`).
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.
        **fields: those of `ModelSource` (revision, dtype, device, quantize, ...), `MethodOptions` (calibration_data,
            modules, ...), `Windows` (sequences, tokens, budget, ...), `DriverChoice` (stream, gradient_checkpointing,
            spill) and `Output` (out, resume, force: where the run is going to be saved, so that the state of an
            unfinished analysis is kept beside it).

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    refuse_unknown(fields, AnalysisFields, analyze)
    source, loaded = model_source(model, fields)
    request = AnalysisRequest(
        model=source,
        method=made_of(MethodOptions, fields),
        text=text_source(data, data_options),
        windows=made_of(Windows, fields),
        settings=settings or Settings(),
        driver=made_of(DriverChoice, fields),
        output=made_of(Output, fields),
    )
    windows = None if input_ids is None else as_windows(input_ids)
    documents = None if document_ids is None else as_windows(document_ids, "document_ids")
    memory = LoadedInputs(loaded, tokenizer, windows, documents)
    return run_analysis(request, memory, processes=processes, progress=progress)


@showing
@torch.inference_mode(mode=False)
def run_analysis(
    request: AnalysisRequest,
    memory: LoadedInputs | None = None,
    *,
    processes: Processes | None = None,
    progress: bool | None = None,  # noqa: ARG001  (read by `showing`)
    models: int = 1,
) -> Analysis:
    """Makes the analysis that a request asks for.

    Args:
        request: the analysis.
        memory: what is in memory already and takes the place of the names in the request.
        processes: share the sequences, and all return the analysis.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.
        models: how many alike are to be analyzed, this one included, for the plan and the budget.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    with owned(request.output.out, here=processes is None or processes.main):
        return _analyzed(request, memory or LoadedInputs(), processes, models)


def _analyzed(request: AnalysisRequest, memory: LoadedInputs, processes: Processes | None, models: int) -> Analysis:
    started = time.perf_counter()
    under = asked(request.model, request.method)
    under.refuse(stream=bool(request.driver.stream), backward=request.settings.backward)
    if request.windows.budget is not None and memory.input_ids is not None:
        raise RequestError("`budget` chooses windows of a text: leave it out beside input_ids")
    # Opening looks at what can be seen without reading, so that a mistyped source fails before a large model loads.
    documents = Counted(open_text(request.text) if memory.input_ids is None else iter(()))
    if under.calibrates:
        open_text(named_text(request.text, request.method))
    output = request.output
    if output.out is not None and not output.force:
        refuse_unfinished(output.out, KIND, resume=output.resume)
    if processes is not None and request.model.device_map is not None:
        raise RequestError("`device_map` spreads one model over all GPUs: it goes with one process")
    resolved = None
    if memory.model is None:
        resolved = resolve(request.model.name, request.model.revision, request.model.gguf_file)
    why_dtype = None
    if resolved is not None:
        device = _device(request.model, processes)
        request, why_dtype = with_dtype(
            request, resolved, held_as=under.held_as, device=device, processes=processes, begun=_begun(output)
        )
        under = asked(request.model, request.method)
    choice = _driver_choice(request, under, memory, processes, resolved)
    if choice.spill is not None and not (choice.stream or choice.gradient_checkpointing):
        raise RequestError("`spill` goes with `stream` or `gradient_checkpointing`")
    loaded, machine = None, this_machine(choice.spill)
    stage("loading")
    if memory.model is None:
        device = _device(request.model, processes)
        loaded = under.load(stream=bool(choice.stream), device=device, tokenizer=memory.tokenizer, resolved=resolved)
    model = loaded.model if loaded is not None else memory.model
    assert model is not None  # noqa: S101  (one of the two is there)
    tokenizer = memory.tokenizer or (loaded.tokenizer if loaded is not None else None)
    if loaded is not None and not under.calibrates:
        loaded = under.put(loaded, backward=request.settings.backward)
        model = loaded.model
    driver = _driver(model, choice, loaded)
    check_context(model, request.windows.tokens)
    read = None
    if request.windows.budget is None:  # what is wrong with a text is said before the plan
        stage("reading text")
        read = _windows(request, memory, model, tokenizer, documents)
    stage("planning")
    planning = Planning(
        request, model, driver, memory.input_ids, resolved, machine, processes, models=models, started=started
    )
    windows, forecast = planning.settled()
    request = replace(request, windows=windows)
    stage("reading text")
    input_ids, document_ids, packed = read or _windows(request, memory, model, tokenizer, documents)
    if loaded is not None and under.calibrates:
        text = _calibration(request, loaded, input_ids, packed, documents)
        loaded = under.put(loaded, text, backward=request.settings.backward)
        model = loaded.model
        driver = _driver(model, choice, loaded)
    journal = None
    if output.out is not None:
        if loaded is None:
            raise SinkscopeError("a loaded model cannot be told from another: name its folder to keep a state at `out`")
        state = request_of(
            loaded,
            input_ids,
            document_ids,
            request=request,
            driver=driver.name,
            device=driver.device,
            processes=1 if processes is None else processes.count,
            chosen=None if forecast is None else forecast.choice(windows),
        )
        rank = processes.rank if processes is not None else 0
        journal = Journal(output.out, state, resume=output.resume, force=output.force, part=rank)
        if processes is not None:
            processes.exchange(None)  # nobody saves before all have looked for what was there
    run = measure(
        model,
        input_ids,
        settings=request.settings,
        batch_size=request.windows.batch_size,
        document_ids=document_ids,
        tokenizer=tokenizer,
        driver=driver,
        journal=journal,
        processes=processes,
    )
    run = _with_provenance(run, loaded, packed, request.text, forecast, why_dtype)
    return Analysis(run, None if journal is None else journal.discard)


def _driver_choice(
    request: AnalysisRequest,
    under: Under,
    memory: LoadedInputs,
    processes: Processes | None,
    resolved: Resolved | None,
) -> DriverChoice:
    """How to make the passes: as asked, as before where an analysis is resumed, or as the machine allows."""
    choice = request.driver
    if resolved is None:
        if choice.stream:
            raise RequestError("a loaded model is in memory already: name its folder to stream it")
        return choice
    if choice.stream is not None or request.model.device_map is not None:
        return choice
    name = _interrupted(request.output) if request.output.resume else None
    if name is None:
        name = _automatic(request, under, memory, processes, resolved)
    return DriverChoice(stream=name == STREAMED, gradient_checkpointing=name != RESIDENT, spill=choice.spill)


def _automatic(
    request: AnalysisRequest,
    under: Under,
    memory: LoadedInputs,
    processes: Processes | None,
    resolved: Resolved,
) -> str:
    """The driver for this machine; several processes take what the first one chooses."""
    windows = request.windows
    sequences, tokens = (windows.count, windows.tokens) if memory.input_ids is None else memory.input_ids.shape

    def choose() -> str:
        return automatic_driver(
            replace(request.model, device=_device(request.model, processes), quantize=under.held_as),
            resolved,
            streams=under.streams,
            sequences=sequences,
            tokens=tokens,
            batch_size=windows.batch_size,
            settings=request.settings,
            layer_by_layer=request.driver.gradient_checkpointing,
            spill=request.driver.spill,
        )

    return choose() if processes is None else processes.from_first(choose)


def _begun(output: Output) -> str | None:
    """The dtype of an unfinished analysis that is gone on with; None where there is none."""
    if output.out is None or not output.resume:
        return None
    dtype: str | None = request_before(output.out, KIND).get("model", {}).get("dtype")
    return dtype


def _interrupted(output: Output) -> str | None:
    """The driver of an unfinished analysis, whatever the machine has free today; None where there is none."""
    return None if output.out is None else request_before(output.out, KIND).get("driver")


def _device(source: ModelSource, processes: Processes | None) -> str:
    return source.device if processes is None else processes.device(source.device)


def _windows(
    request: AnalysisRequest,
    memory: LoadedInputs,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    documents: Counted,
) -> tuple[Tensor, Tensor | None, Packed | None]:
    """Token ids [N, T], the documents [N, T] that are kept apart, and how a text was packed."""
    packed = None
    input_ids, document_ids = memory.input_ids, memory.document_ids
    if input_ids is None:
        windows = request.windows
        packed = pack_for(model, tokenizer, documents, windows.count, windows.tokens, windows.bos)
        input_ids, document_ids = packed.input_ids, packed.document_ids
    if not request.windows.isolate_documents:
        return input_ids, None, packed
    if document_ids is None:
        raise RequestError("`isolate_documents` needs document_ids beside input_ids")
    return input_ids, document_ids, packed


def _driver(model: PreTrainedModel, choice: DriverChoice, loaded: Loaded | None) -> Resident | LayerByLayer:
    """What makes the passes."""
    if choice.stream or choice.gradient_checkpointing:
        return LayerByLayer(model, loaded.weights if loaded else None, spill=choice.spill)
    return Resident(model)


def _calibration(
    request: AnalysisRequest, loaded: Loaded, input_ids: Tensor, packed: Packed | None, documents: Counted
) -> CalibrationText:
    """The text to calibrate on, in windows of the measured length; not the measured ones, unless these are named."""
    evaluated = None if packed is None else request.text
    return calibration_text(
        loaded.model,
        loaded.tokenizer,
        evaluated,
        replace(request.windows, tokens=input_ids.shape[1]),
        request.method,
        read=documents.read if evaluated is not None and evaluated.data == STDLIB else 0,
    )


def _with_provenance(
    run: Run,
    loaded: Loaded | None,
    packed: Packed | None,
    text: TextSource,
    forecast: Forecast | None,
    why_dtype: str | None,
) -> Run:
    """The run with what only loading and packing know."""
    info = dict(run.info)
    if loaded is not None:
        info["model"] = {**info["model"], **loaded.description}
    if why_dtype is not None:
        info["model"]["dtype_chosen"] = why_dtype
    if packed is not None:
        info["data"] = {**info["data"], **text.provenance(), "sha256": packed.sha256, "bos": packed.bos}
    if forecast is not None:
        info["plan"] = forecast.as_json()
    return Run(ordered(info), run.tables)
