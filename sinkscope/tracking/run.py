"""`sinkscope track`: the checkpoints of one training run, each measured on the same windows with the same settings.

One checkpoint is in memory at a time, and a few kilobytes are kept of each, on disk. A checkpoint that cannot be
measured is skipped and named; one of another shape is refused, since it cannot belong to the same run.
"""

import gc
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.analysis.measure import measure
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.owner import owned
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows
from sinkscope.keywords import MethodFields, ModelFields, WindowFields, listing, made_of, refuse_unknown, text_source
from sinkscope.loading.load import load_tokenizer
from sinkscope.methods.calibration_text import CalibrationText, Counted, calibration_text, named_text
from sinkscope.methods.under import asked
from sinkscope.planning.machine import Machine, this_machine
from sinkscope.progress.display import counted, showing, stage
from sinkscope.provenance.begin import begin
from sinkscope.results import Result
from sinkscope.tables.columns import frame
from sinkscope.tables.run_folder import Run
from sinkscope.text.sources import open_text
from sinkscope.text.stdlib import STDLIB
from sinkscope.text.windows import pack_for
from sinkscope.tracking.appearances import appearances, phenomena
from sinkscope.tracking.checkpoints import Checkpoint, find_checkpoints, refuse_mixed, refuse_other_shape
from sinkscope.tracking.distill import distilled
from sinkscope.tracking.kept import KeptWindows, Partial
from sinkscope.tracking.plan import Planning
from sinkscope.tracking.settings import CheckpointSource, TrackRequest

_SHAPE = ("family", "layers", "heads", "kv_heads", "hidden_size", "head_dim")
_OF_RUN = ("device", "settings", "versions", "peak_memory_bytes", "headline")


@dataclass(frozen=True, repr=False)
class Track(Result):
    """A finished track: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`.

    Attributes:
        failed: name and reason of every checkpoint that could not be measured.
    """

    failed: dict[str, str] = field(default_factory=dict)


class TrackFields(ModelFields, MethodFields, WindowFields, total=False):
    """The fields of `ModelSource` but its name, `MethodOptions`, `Windows`, and `Output` but its place, as keywords."""

    force: bool
    resume: bool


@listing(ModelSource, MethodOptions, Windows, Output)
def track(
    checkpoints: str | Path,
    out: str | Path,
    *,
    revisions: str | None = None,
    tokenizer: str | Path | None = None,
    data: str | Path | TextSource = "stdlib",
    data_options: dict[str, Any] | None = None,
    settings: Settings | None = None,
    progress: bool | None = None,
    **fields: Unpack[TrackFields],
) -> Track:
    """Measures the checkpoints of a training run: what appears when, and in which order.

    Args:
        checkpoints: a folder of checkpoints of one training run, or with `revisions` a Hub id.
        out: the place of the finished run, which `save` writes; results so far are kept beside it.
        revisions: the checkpoints are the Hub model's branches and tags that match this pattern.
        tokenizer: folder or Hub id of the tokenizer; by default the first checkpoint's.
        data: a source of text, as in `sinkscope.analyze`, or a `TextSource`.
        data_options: the other fields of `TextSource` (config, split, streaming, column, special_tokens).
        settings: what is measured.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.
        **fields: those of `ModelSource` (dtype, device, quantize, ...), `MethodOptions` (calibration_data, ...) and
            `Windows` (sequences, tokens, budget, ...); `resume` uses the results of an interrupted track, `force`
            throws them away.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    refuse_unknown(fields, TrackFields, track)
    if "revision" in fields:
        raise RequestError("`revision` is that of one model: the checkpoints of a Hub model are named by `revisions`")
    request = TrackRequest(
        checkpoints=CheckpointSource(str(checkpoints), revisions, None if tokenizer is None else str(tokenizer)),
        model=made_of(ModelSource, fields),
        method=made_of(MethodOptions, fields),
        text=text_source(data, data_options),
        windows=made_of(Windows, fields),
        settings=settings or Settings(),
        output=made_of(Output, fields, out=out),
    )
    return run_track(request, progress=progress)


@showing
def run_track(request: TrackRequest, *, progress: bool | None = None) -> Track:  # noqa: ARG001  (read by `showing`)
    """Makes the track that a request asks for.

    Args:
        request: the track; its output must have a place.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.

    Raises:
        SinkscopeError: if there are no checkpoints, their names have no steps, they are of different shapes, or none
            could be measured.
    """
    started = time.perf_counter()
    out = request.output.out
    if out is None:
        raise RequestError("a track keeps its results beside `out`, and there is none")
    with owned(out):
        return _tracked(request, out, started)


def _tracked(request: TrackRequest, out: Path, started: float) -> Track:
    asked(request.model, request.method).refuse(backward=request.settings.backward)
    checkpoints = find_checkpoints(request.checkpoints.source, request.checkpoints.revisions)
    refuse_mixed(checkpoints)
    partial = Partial(out, request.as_json(), resume=request.output.resume, force=request.output.force)
    missing = [checkpoint for checkpoint in checkpoints if partial.result(checkpoint) is None]
    windows = _Windows(request, partial, len(missing), started)
    partial.begin()
    try:
        failed = _measure_all(checkpoints, request, windows, partial)
    finally:
        partial.discard_if_empty()
    run = _run(request, partial, checkpoints, failed, windows.ready(), time.perf_counter() - started)
    return Track(run, None if failed else partial.discard, failed)


def _measure_all(
    checkpoints: list[Checkpoint], request: TrackRequest, windows: "_Windows", partial: Partial
) -> dict[str, str]:
    """Has a result kept for every checkpoint; returns names and reasons of those that could not be measured."""
    failed: dict[str, str] = {}
    first: tuple[str, dict[str, Any]] | None = None
    refused: RequestError | None = None
    for checkpoint in counted(checkpoints, "checkpoint"):
        try:
            result = partial.result(checkpoint) or _measured(checkpoint, request, windows, partial)
        except _NotLoadedError as error:  # whatever is wrong with this one, the next may be whole
            failed[checkpoint.name] = str(error)
            refused = refused or error.request
            continue
        except RequestError:  # what could never work will not with the next checkpoint
            raise
        except SinkscopeError as error:
            failed[checkpoint.name] = str(error)
            continue
        shape = {key: result["info"]["model"][key] for key in _SHAPE}
        first = first or (checkpoint.name, shape)
        refuse_other_shape(first, (checkpoint.name, shape))
    if first is None:
        name, reason = next(iter(failed.items()))
        kind = SinkscopeError if refused is None else RequestError
        raise kind(f"none of the {len(failed)} checkpoints could be measured; {name}: {reason}")
    return failed


class _NotLoadedError(SinkscopeError):
    """A checkpoint that could not be loaded.

    Args:
        error: why.

    Attributes:
        request: the same, where it says that a request could never work; None where a file is at fault.
    """

    def __init__(self, error: SinkscopeError) -> None:
        super().__init__(str(error))
        self.request = error if isinstance(error, RequestError) else None


class _Windows:
    """The windows, made with the first checkpoint that loads, or those of the track that is resumed."""

    def __init__(self, request: TrackRequest, partial: Partial, missing: int, started: float) -> None:
        self._request = request
        self._missing = missing
        self._started = started
        self._partial = partial
        self._kept = partial.windows(trust_remote_code=request.model.trust_remote_code)
        self._named: PreTrainedTokenizerBase | None = None
        if self._kept is None:
            # Opening and loading look at what can be seen at once, so that a mistyped name fails before a model loads.
            self._documents = Counted(open_text(request.text))
            if asked(request.model, request.method).calibrates:
                open_text(named_text(request.text, request.method))
            if request.checkpoints.tokenizer is not None:
                self._named = load_tokenizer(
                    request.checkpoints.tokenizer, trust_remote_code=request.model.trust_remote_code
                )

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer of the track; None until the first checkpoint has one."""
        return self._kept.tokenizer if self._kept is not None else self._named

    def ready(self) -> KeptWindows:
        """The windows, once made."""
        if self._kept is None:
            raise RuntimeError("no checkpoint was loaded")
        return self._kept

    def of(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, machine: Machine, loading: float
    ) -> KeptWindows:
        """The windows, made now if they are not yet; with the first model that is loaded comes the plan.

        Args:
            model: loaded.
            tokenizer: its tokenizer.
            machine: what was free before it was loaded.
            loading: seconds that this took.
        """
        plan = Planning(self._request, model, machine, loading, self._missing, self._started)
        if self._kept is not None:
            plan.say(*self._kept.input_ids.shape)
        else:
            windows, planned = plan.settled()
            stage("reading text")
            packed = pack_for(model, tokenizer, self._documents, windows.count, windows.tokens, windows.bos)
            documents = packed.document_ids if windows.isolate_documents else None
            calibrates = asked(self._request.model, self._request.method).calibrates
            text = self._calibration(model, tokenizer, packed.input_ids.shape[1]) if calibrates else None
            self._kept = KeptWindows(packed.input_ids, documents, packed.sha256, packed.bos, tokenizer, text, planned)
            self._partial.keep_windows(self._kept)
        return self._kept

    def _calibration(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: int) -> CalibrationText:
        request = self._request
        read = self._documents.read if request.text.data == STDLIB else 0
        windows = replace(request.windows, tokens=tokens)
        return calibration_text(model, tokenizer, request.text, windows, request.method, read=read)


def _measured(checkpoint: Checkpoint, request: TrackRequest, windows: _Windows, partial: Partial) -> dict[str, Any]:
    """Measures a checkpoint and keeps its result."""
    gc.collect()  # hooks and autograd leave cycles, which would keep the last model while this one loads
    source = replace(request.model, name=checkpoint.model, revision=checkpoint.revision)
    under = asked(source, request.method)
    stage("loading")
    try:
        fingerprint = checkpoint.fingerprint()  # before anything is loaded: what changes from now on is noticed
    except OSError as error:
        raise SinkscopeError(f"{checkpoint.name} cannot be read: {error.strerror or error}") from error
    machine, began = this_machine(), time.perf_counter()
    try:
        loaded = under.load(tokenizer=windows.tokenizer)
    except SinkscopeError as error:
        raise _NotLoadedError(error) from error
    read = windows.of(loaded.model, loaded.tokenizer, machine, time.perf_counter() - began)
    loaded = under.put(loaded, read.calibration, backward=request.settings.backward)
    run = measure(
        loaded.model,
        read.input_ids,
        settings=request.settings,
        batch_size=request.windows.batch_size,
        document_ids=read.document_ids,
    )
    info = {**run.info, "model": {**run.info["model"], **loaded.description}}
    info.pop("sink_tokens")
    result = {"info": info, "rows": distilled(run, checkpoint.step)}
    partial.keep(checkpoint, result, fingerprint)
    return result


def _run(
    request: TrackRequest,
    partial: Partial,
    checkpoints: list[Checkpoint],
    failed: dict[str, str],
    windows: KeptWindows,
    seconds: float,
) -> Run:
    rows: dict[str, list[pd.DataFrame]] = {}
    listed, info = [], {}
    for checkpoint in checkpoints:
        if checkpoint.name in failed:
            continue
        result = partial.result(checkpoint)
        if result is None:
            raise SinkscopeError(f"the files of {checkpoint.name} changed while it was measured: `resume` to go on")
        info = result["info"]
        for name, columns in result["rows"].items():
            rows.setdefault(name, []).append(frame(name, columns))
        listed.append(
            {
                "step": checkpoint.step,
                "name": checkpoint.name,
                "revision": info["model"]["revision"],
                "weights_sha256": info["model"]["weights_sha256"],
                "sha256": info["model"].get("sha256"),
                "seconds": info["seconds"],
            }
        )
    _mark_copies(listed)
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in rows.items()}
    epsilon = request.settings.sink_epsilon
    copies = {checkpoint["step"] for checkpoint in listed if "same_as" in checkpoint}
    tables["appearances"] = appearances(tables["track"], epsilon, copies)
    source = request.checkpoints
    model = {key: value for key, value in info["model"].items() if key != "sha256"}  # every checkpoint has its own
    described = begin(
        "track",
        model={**model, "name": source.source, "revision": source.revisions, "weights_sha256": None},
        data={**info["data"], **request.text.provenance(), "sha256": windows.sha256, "bos": windows.bos},
        checkpoints=listed,
        failed=[{"name": name, "reason": reason} for name, reason in failed.items()],
        seconds=seconds,
        **({} if windows.plan is None else {"plan": windows.plan}),
        conventions={**info["conventions"], "headline": "of the last checkpoint", **_conventions(epsilon)},
        **{key: info[key] for key in _OF_RUN},
    )
    return Run(described, tables)


def _mark_copies(listed: list[dict[str, Any]]) -> None:
    """Says of every checkpoint that is an earlier one over again which one that is."""
    first: dict[str, int] = {}
    for checkpoint in listed:
        whole = checkpoint["sha256"]
        if whole is not None and first.setdefault(whole, checkpoint["step"]) != checkpoint["step"]:
            checkpoint["same_as"] = first[whole]


def _conventions(epsilon: float) -> dict[str, str]:
    """The thresholds of the table `appearances`, in words."""
    return {
        f"{phenomenon.name.replace(' ', '_')}_if": (
            f"{phenomenon.metric} {'>' if phenomenon.exceeds else '>='} {phenomenon.threshold:g}"
        )
        for phenomenon in phenomena(epsilon)
    }
