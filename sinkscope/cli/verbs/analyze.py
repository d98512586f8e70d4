"""`sinkscope analyze`: from a model to a run folder with tables, figures and a report."""

import sys

from sinkscope.capture.settings import Settings
from sinkscope.cli import options
from sinkscope.cli.output import command_line, default_folder, show
from sinkscope.launch.environment import is_main_process, launched_together


def analyze(
    model: options.Model = "demo",
    revision: options.Revision = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    device_map: options.DeviceMap = None,
    quantize: options.Quantize = None,
    trust_remote_code: options.TrustRemoteCode = False,
    data: options.Data = "stdlib",
    data_config: options.DataConfig = None,
    data_split: options.DataSplit = "train",
    data_streaming: options.DataStreaming = False,
    data_column: options.DataColumn = "text",
    bos: options.Bos = "auto",
    sequences: options.Sequences = 32,
    tokens: options.Tokens = None,
    batch_size: options.BatchSize = 1,
    isolate_documents: options.IsolateDocuments = False,
    no_backward: options.NoBackward = False,
    sink_epsilon: options.SinkEpsilon = Settings.sink_epsilon,
    sink_window: options.SinkWindow = Settings.sink_window,
    early: options.Early = Settings.early,
    positions: options.Positions = Settings.positions,
    columns: options.Columns = Settings.columns,
    stream: options.Stream = None,
    gradient_checkpointing: options.LayerByLayer = False,
    spill: options.Spill = None,
    out: options.Out = None,
    force: options.AnalysisForce = False,
    resume: options.AnalysisResume = False,
    json: options.Json = False,
) -> None:
    """Measure a model and write a run folder: tables, figures and a report."""
    with launched_together() as processes:
        settings = Settings(
            sink_epsilon=sink_epsilon,
            sink_window=sink_window,
            early=early,
            positions=positions,
            columns=columns,
            backward=not no_backward,
        )
        folder = out if out is not None else default_folder(model)
        from sinkscope.tables.run_folder import check_target

        check_target(folder, force=force)

        from sinkscope.analysis import run as api
        from sinkscope.analysis.journal import KIND
        from sinkscope.unfinished import resumable

        with resumable(folder, KIND):
            analysis = api.analyze(
                model,
                data=data,
                data_options={
                    "config": data_config,
                    "split": data_split,
                    "streaming": data_streaming,
                    "column": data_column,
                },
                sequences=sequences,
                tokens=tokens,
                batch_size=batch_size,
                bos=bos,
                isolate_documents=isolate_documents,
                settings=settings,
                stream=stream,
                gradient_checkpointing=gradient_checkpointing,
                spill=spill,
                out=folder,
                resume=resume,
                force=force,
                processes=processes,
                progress=sys.stderr.isatty() and is_main_process(),
                revision=revision,
                dtype=dtype,
                device=device,
                device_map=device_map,
                quantize=quantize,
                trust_remote_code=trust_remote_code,
            )
        if not is_main_process():
            return
        analysis.info["command"] = command_line()
        analysis.save(folder, force=force)
        show(analysis.run, folder, json=json)
