"""`sinkscope track`: the checkpoints of one training run, each measured on the same windows with the same settings.

One checkpoint is in memory at a time, and a few kilobytes are kept of each, on disk. A checkpoint that cannot be
measured is skipped and named; one of another shape is refused, since it cannot belong to the same run.
"""

import gc
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.analysis.measure import measure
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.loading.load import load_model, load_tokenizer
from sinkscope.passes.progress import with_progress
from sinkscope.provenance.begin import begin
from sinkscope.tables.columns import frame
from sinkscope.tables.run_folder import Run
from sinkscope.text.sources import open_documents
from sinkscope.text.windows import pack_for
from sinkscope.tracking.appearances import appearances, phenomena
from sinkscope.tracking.checkpoints import Checkpoint, find_checkpoints, refuse_mixed, refuse_other_shape
from sinkscope.tracking.distill import distilled
from sinkscope.tracking.kept import Partial, Windows
from sinkscope.version import __version__

_SHAPE = ("family", "layers", "heads", "kv_heads", "hidden_size", "head_dim")
_OF_RUN = ("device", "settings", "versions", "peak_memory_bytes", "headline")


@dataclass(frozen=True)
class Request:
    """What is measured at every checkpoint.

    Attributes:
        source: a folder of checkpoints, or a Hub id.
        revisions: pattern of the Hub model's revisions; None for a folder.
        tokenizer: folder or Hub id of the tokenizer; None for the first checkpoint's.
        data: as in `sinkscope.analyze`.
        data_options: as in `sinkscope.analyze`.
        sequences: windows.
        tokens: per window; by default the model's context, at most 2048.
        bos: `auto`, `always` or `never`.
        isolate_documents: keep packed documents from attending to each other.
        batch_size: windows per pass.
        settings: what to measure.
        loading: options of `load_model`, but for the revision.
    """

    source: str
    revisions: str | None
    tokenizer: str | None
    data: str
    data_options: dict[str, Any]
    sequences: int
    tokens: int | None
    bos: str
    isolate_documents: bool
    batch_size: int
    settings: Settings
    loading: dict[str, Any]

    @property
    def code_allowed(self) -> bool:
        """Whether code that comes with a model may run."""
        return bool(self.loading.get("trust_remote_code"))


@dataclass(frozen=True)
class Tracked:
    """A finished track.

    Attributes:
        run: its tables, to be written.
        failed: name and reason of every checkpoint that could not be measured.
        partial: the checkpoints' results; to be discarded once the run is written and nothing failed.
    """

    run: Run
    failed: dict[str, str]
    partial: Partial


def track(request: Request, out: Path, *, resume: bool = False, force: bool = False, progress: bool = False) -> Tracked:
    """Measures the checkpoints of a training run.

    Args:
        request: which, and how.
        out: the place of the finished run, which is not written here; results so far are kept beside it.
        resume: use the results of an interrupted track.
        force: throw them away.
        progress: show a progress bar on stderr.

    Raises:
        SinkscopeError: if there are no checkpoints, their names have no steps, they are of different shapes, or none
            could be measured.
    """
    started = time.perf_counter()
    checkpoints = find_checkpoints(request.source, request.revisions)
    refuse_mixed(checkpoints)
    partial = Partial(out, {**asdict(request), "sinkscope": __version__}, resume=resume, force=force)
    windows = _Windows(request, partial)
    partial.begin()
    try:
        failed = _measure_all(checkpoints, request, windows, partial, progress)
    finally:
        partial.discard_if_empty()
    run = _run(request, partial, checkpoints, failed, windows.ready(), time.perf_counter() - started)
    return Tracked(run, failed, partial)


def _measure_all(
    checkpoints: list[Checkpoint], request: Request, windows: "_Windows", partial: Partial, progress: bool
) -> dict[str, str]:
    """Has a result kept for every checkpoint; returns names and reasons of those that could not be measured."""
    failed: dict[str, str] = {}
    first: tuple[str, dict[str, Any]] | None = None
    for checkpoint in with_progress(checkpoints, "tracking", progress):
        try:
            result = partial.result(checkpoint) or _measured(checkpoint, request, windows, partial)
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
        raise SinkscopeError(f"none of the {len(failed)} checkpoints could be measured; {name}: {reason}")
    return failed


class _Windows:
    """The windows, made with the first checkpoint that loads, or those of the track that is resumed."""

    def __init__(self, request: Request, partial: Partial) -> None:
        self._request = request
        self._partial = partial
        self._kept = partial.windows(trust_remote_code=request.code_allowed)
        self._named: PreTrainedTokenizerBase | None = None
        if self._kept is None:
            # Opening and loading look at what can be seen at once, so that a mistyped name fails before a model loads.
            self._documents = open_documents(request.data, **request.data_options)
            if request.tokenizer is not None:
                self._named = load_tokenizer(request.tokenizer, trust_remote_code=request.code_allowed)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer of the track; None until the first checkpoint has one."""
        return self._kept.tokenizer if self._kept is not None else self._named

    def ready(self) -> Windows:
        """The windows, once made."""
        if self._kept is None:
            raise RuntimeError("no checkpoint was loaded")
        return self._kept

    def of(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Windows:
        """The windows, made now if they are not yet."""
        if self._kept is None:
            request = self._request
            packed = pack_for(model, tokenizer, self._documents, request.sequences, request.tokens, request.bos)
            documents = packed.document_ids if request.isolate_documents else None
            self._kept = Windows(packed.input_ids, documents, packed.sha256, packed.bos, tokenizer)
            self._partial.keep_windows(self._kept)
        return self._kept


def _measured(checkpoint: Checkpoint, request: Request, windows: _Windows, partial: Partial) -> dict[str, Any]:
    """Measures a checkpoint and keeps its result."""
    gc.collect()  # hooks and autograd leave cycles, which would keep the last model while this one loads
    loaded = load_model(checkpoint.model, revision=checkpoint.revision, tokenizer=windows.tokenizer, **request.loading)
    read = windows.of(loaded.model, loaded.tokenizer)
    run = measure(
        loaded.model,
        read.input_ids,
        settings=request.settings,
        batch_size=request.batch_size,
        document_ids=read.document_ids,
    )
    info = {**run.info, "model": {**run.info["model"], **loaded.description}}
    info.pop("sink_tokens")
    result = {"info": info, "rows": distilled(run, checkpoint.step)}
    partial.keep(checkpoint, result)
    return result


def _run(
    request: Request,
    partial: Partial,
    checkpoints: list[Checkpoint],
    failed: dict[str, str],
    windows: Windows,
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
                "seconds": info["seconds"],
            }
        )
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in rows.items()}
    epsilon = request.settings.sink_epsilon
    tables["appearances"] = appearances(tables["track"], epsilon)
    described = begin(
        "track",
        model={**info["model"], "name": request.source, "revision": request.revisions, "weights_sha256": None},
        data={**info["data"], "source": request.data, "sha256": windows.sha256, "bos": windows.bos},
        checkpoints=listed,
        failed=[{"name": name, "reason": reason} for name, reason in failed.items()],
        seconds=seconds,
        conventions={**info["conventions"], "headline": "of the last checkpoint", **_conventions(epsilon)},
        **{key: info[key] for key in _OF_RUN},
    )
    return Run(described, tables)


def _conventions(epsilon: float) -> dict[str, str]:
    """The thresholds of the table `appearances`, in words."""
    return {
        f"{phenomenon.name.replace(' ', '_')}_if": (
            f"{phenomenon.metric} {'>' if phenomenon.exceeds else '>='} {phenomenon.threshold:g}"
        )
        for phenomenon in phenomena(epsilon)
    }
