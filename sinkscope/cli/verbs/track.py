"""`sinkscope track`: from the checkpoints of a training run to a run folder with their evolution."""

import sys
from pathlib import Path

from sinkscope.capture.settings import Settings
from sinkscope.cli import options
from sinkscope.cli.output import command_line, default_folder, show
from sinkscope.errors import SinkscopeError


def track(
    checkpoints: options.Checkpoints,
    revisions: options.Revisions = None,
    tokenizer: options.Tokenizer = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    device_map: options.DeviceMap = None,
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
    out: options.TrackOut = None,
    force: options.TrackForce = False,
    resume: options.TrackResume = False,
    json: options.Json = False,
) -> None:
    """Measure the checkpoints of a training run: what appears when, and in which order."""
    settings = Settings(
        sink_epsilon=sink_epsilon, sink_window=sink_window, early=early, positions=positions, backward=not no_backward
    )
    folder = out if out is not None else _default_folder(checkpoints)
    from sinkscope.tables.run_folder import check_target, write_run

    check_target(folder, force=force)

    from sinkscope.report.render import render
    from sinkscope.tracking.kept import KIND
    from sinkscope.tracking.run import Request
    from sinkscope.tracking.run import track as measure
    from sinkscope.unfinished import resumable

    request = Request(
        source=checkpoints,
        revisions=revisions,
        tokenizer=tokenizer,
        data=data,
        data_options={
            "config": data_config,
            "split": data_split,
            "streaming": data_streaming,
            "column": data_column,
        },
        sequences=sequences,
        tokens=tokens,
        bos=bos,
        isolate_documents=isolate_documents,
        batch_size=batch_size,
        settings=settings,
        loading={"dtype": dtype, "device": device, "device_map": device_map, "trust_remote_code": trust_remote_code},
    )
    with resumable(folder, KIND):
        tracked = measure(request, folder, resume=resume, force=force, progress=sys.stderr.isatty())
    run = tracked.run
    run.info["command"] = command_line()
    write_run(run, folder, force=force, finish=lambda building: render(run, building))
    if not tracked.failed:
        tracked.partial.discard()
    show(run, folder, json=json)
    if tracked.failed:
        name, reason = next(iter(tracked.failed.items()))
        others = f" (and {', '.join(list(tracked.failed)[1:])})" if len(tracked.failed) > 1 else ""
        raise SinkscopeError(
            f"{len(tracked.failed)} of {len(tracked.failed) + len(run.info['checkpoints'])} checkpoints could not be "
            f"measured: {name}{others}; {reason}; put right, --resume --force measures what is missing"
        )


def _default_folder(checkpoints: str) -> Path:
    """`runs/<name>-track`."""
    folder = default_folder(checkpoints)
    return folder.with_name(f"{folder.name}-track")
