"""The library's front door: `sinkscope.analyze`.

analysis = sinkscope.analyze("demo")
analysis.heads                      # a DataFrame, as declared in docs/tables.md
analysis.figures()["sink_heatmap"]  # a matplotlib Figure
analysis.save("runs/demo")          # the run folder, with figures and report.pdf
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.analysis.drivers.layer_by_layer import STREAMED, LayerByLayer
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.journal import KIND, Journal
from sinkscope.analysis.measure import Driver, measure
from sinkscope.analysis.request import request_of
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.launch.group import Processes
from sinkscope.loading.load import Loaded, load_model
from sinkscope.planning.automatic import Drive, automatic_drive
from sinkscope.tables.run_folder import Run, write_run
from sinkscope.text.packing import Packed
from sinkscope.text.sources import open_documents
from sinkscope.text.windows import pack_for
from sinkscope.unfinished import refuse_unfinished, request_before

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Analysis:
    """A finished analysis.

    Attributes:
        run: its provenance and tables. Tables are attributes too: `analysis.heads` is `analysis.run["heads"]`.
        journal: what was kept on disk while it was unfinished; gone once the run is saved.
    """

    run: Run
    journal: Journal | None = None

    @property
    def info(self) -> dict[str, Any]:
        """Provenance, settings and headline numbers, as in run.json."""
        return self.run.info

    @property
    def headline(self) -> dict[str, Any]:
        """The headline numbers."""
        return dict(self.run.info["headline"])

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        return self.run.tables

    def __getattr__(self, name: str) -> pd.DataFrame:
        """The table `name`."""
        if name.startswith("__") or name == "run" or name not in self.run.tables:
            raise AttributeError(f"{type(self).__name__} has no attribute or table {name!r}")
        return self.run.tables[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.run.tables]

    def figures(self) -> "dict[str, Figure]":
        """The report's figures by name, drawn anew."""
        from sinkscope.report.render import figures

        return figures(self.run)

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Writes the run folder with its figures and report, whole or not at all.

        Args:
            folder: its place.
            force: replace an existing run folder.

        Raises:
            SinkscopeError: if the place is taken or cannot be written.
        """
        from sinkscope.report.render import render

        write_run(self.run, Path(folder), force=force, finish=lambda building: render(self.run, building))
        if self.journal is not None:
            self.journal.discard()
        return Path(folder)


def analyze(
    model: str | Path | PreTrainedModel = "demo",
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    data: str = "stdlib",
    data_options: dict[str, Any] | None = None,
    input_ids: Tensor | None = None,
    document_ids: Tensor | None = None,
    sequences: int = 32,
    tokens: int | None = None,
    batch_size: int = 1,
    bos: str = "auto",
    isolate_documents: bool = False,
    settings: Settings | None = None,
    stream: bool | None = None,
    gradient_checkpointing: bool = False,
    spill: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    processes: Processes | None = None,
    progress: bool = False,
    **loading: Any,
) -> Analysis:
    """Measures attention sinks, gradient sinks and massive activations of a causal LM.

    Args:
        model: `demo`, a local folder or a hub id; or a loaded model.
        tokenizer: the tokenizer of a loaded model; not needed with `input_ids`.
        data: `stdlib`, a .txt, .jsonl or .parquet file, a folder of them, or the name of a `datasets` data set.
        data_options: options of `sinkscope.text.sources.open_documents` (config, split, streaming, column).
        input_ids: measure these windows [N, T] instead of `data`.
        document_ids: the document of each token [N, T], used where `isolate_documents` is on.
        sequences: N.
        tokens: T; by default the model's context, at most 2048.
        batch_size: sequences per forward pass; the numbers do not depend on it.
        bos: `always` or `never` force or forbid a <bos> at the start of each window; `auto` follows the tokenizer.
        isolate_documents: keep packed documents from attending to each other.
        settings: what to measure.
        stream: hold one layer's weights in memory at a time; by default where a named model would not fit otherwise.
        gradient_checkpointing: hold one layer's activations at a time and compute them again on the way back, for
            long sequences; part of `stream`.
        spill: a folder for the states between layers, which either of the two otherwise keeps in memory.
        out: where the run is going to be saved: the state of the analysis is kept beside it, for `resume`.
        resume: go on with an interrupted analysis of the same request, if there is one at `out`.
        force: throw it away.
        processes: share the sequences, and all return the analysis (`sinkscope.launch.group.together`).
        progress: show progress on stderr.
        **loading: options of `sinkscope.loading.load.load_model` (revision, dtype, device, ...).

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    settings = settings or Settings()
    # Opening looks at what can be seen without reading, so that a mistyped source fails before a large model loads.
    documents = open_documents(data, **(data_options or {})) if input_ids is None else iter(())
    if out is not None and not force:
        refuse_unfinished(Path(out), KIND, resume=resume)
    if processes is not None and loading.get("device_map") is not None:
        raise RequestError("`device_map` spreads one model over all GPUs: it goes with one process")
    if processes is not None and not isinstance(model, PreTrainedModel):
        loading["device"] = processes.device(loading.get("device", "auto"))
    if stream is None and not isinstance(model, PreTrainedModel) and loading.get("device_map") is None:
        drive = _interrupted(out) if resume else None
        if drive is None:
            sizes = (sequences, tokens) if input_ids is None else input_ids.shape
            drive = _choose(model, sizes, batch_size, settings, gradient_checkpointing, spill, processes, loading)
        stream, gradient_checkpointing = drive.stream, drive.layerwise
    if spill is not None and not (stream or gradient_checkpointing):
        raise RequestError("`spill` goes with `stream` or `gradient_checkpointing`")
    loaded = None
    if not isinstance(model, PreTrainedModel):
        loaded = load_model(str(model), stream=bool(stream), **loading)
        model, tokenizer = loaded.model, tokenizer or loaded.tokenizer
    elif loading:
        raise RequestError(f"a loaded model takes no loading options: {', '.join(loading)}")
    elif stream:
        raise RequestError("a loaded model is in memory already: name its folder to stream it")
    packed = None
    if input_ids is None:
        packed = pack_for(model, tokenizer, documents, sequences, tokens, bos)
        input_ids, document_ids = packed.input_ids, packed.document_ids
    if isolate_documents and document_ids is None:
        raise RequestError("isolate_documents needs document_ids beside input_ids")
    documents_apart = document_ids if isolate_documents else None
    driver: Driver = Resident(model, progress=progress)
    if stream or gradient_checkpointing:
        folder = None if spill is None else Path(spill)
        driver = LayerByLayer(model, loaded.weights if loaded else None, spill=folder, progress=progress)
    journal = None
    if out is not None:
        if loaded is None:
            raise SinkscopeError("a loaded model cannot be told from another: name its folder to keep a state at `out`")
        request = request_of(
            loaded,
            input_ids,
            documents_apart,
            settings=settings,
            batch_size=batch_size,
            driver=driver.name,
            device=driver.device,
            device_map=loading.get("device_map"),
            processes=1 if processes is None else processes.count,
        )
        journal = Journal(Path(out), request, resume=resume, force=force, part=processes.rank if processes else 0)
        if processes is not None:
            processes.exchange(None)  # nobody saves before all have looked for what was there
    run = measure(
        model,
        input_ids,
        settings=settings,
        batch_size=batch_size,
        document_ids=documents_apart,
        tokenizer=tokenizer,
        driver=driver,
        journal=journal,
        processes=processes,
        progress=progress,
    )
    return Analysis(_described(run, loaded, packed, data), journal)


def _choose(
    name: Any,
    sizes: Any,
    batch_size: int,
    settings: Settings,
    layerwise: bool,
    spill: str | Path | None,
    processes: Processes | None,
    loading: dict[str, Any],
) -> Drive:
    """How to make the passes; several processes take what the first one chooses."""

    def choose() -> Drive:
        return automatic_drive(
            str(name),
            sequences=sizes[0],
            tokens=sizes[1],
            batch_size=batch_size,
            settings=settings,
            layerwise=layerwise,
            spill=None if spill is None else Path(spill),
            **{key: loading[key] for key in ("revision", "dtype", "device", "quantize") if key in loading},
        )

    return choose() if processes is None else processes.of_main(choose)


def _interrupted(out: str | Path | None) -> Drive | None:
    """How an unfinished analysis made its passes, whatever the machine has free today; None where there is none."""
    name = None if out is None else request_before(Path(out), KIND).get("driver")
    return None if name is None else Drive(stream=name == STREAMED, layerwise=name != Resident.name)


def _described(run: Run, loaded: Loaded | None, packed: Packed | None, data: str) -> Run:
    """The run with what only loading and packing know."""
    info = dict(run.info)
    if loaded is not None:
        info["model"] = {**info["model"], **loaded.description}
    if packed is not None:
        info["data"] = {**info["data"], "source": data, "sha256": packed.sha256, "bos": packed.bos}
    return Run(info, run.tables)
