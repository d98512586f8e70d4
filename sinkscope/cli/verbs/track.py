"""`sinkscope track`: from the checkpoints of a training run to a run folder with their evolution."""

from typing import Annotated

from sinkscope.capture.settings import Settings
from sinkscope.cli import options
from sinkscope.cli.output import default_folder, finish, place_for, refuse_mistaken
from sinkscope.cli.signature import Offered
from sinkscope.errors import SinkscopeError
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows
from sinkscope.tracking.settings import CheckpointSource, TrackRequest


def track(
    checkpoints: CheckpointSource,
    model: Annotated[ModelSource, Offered(but=["name", "revision"])],
    text: TextSource,
    windows: Windows,
    settings: Annotated[Settings, Offered("sink_epsilon", "sink_window", "early", "positions", "backward")],
    method: MethodOptions,
    output: Annotated[
        Output,
        Offered(
            out={"text": "Folder for the run; by default runs/<name>-track."},
            force={"text": "Replace an existing run folder, and start anew."},
            resume={"text": "Go on with an interrupted track: measure the missing checkpoints only."},
        ),
    ],
    json: options.Json = False,
) -> None:
    """Measure the checkpoints of a training run: what appears when, and in which order."""
    refuse_mistaken(text=text)
    if checkpoints.revisions is None:
        from sinkscope.tracking.checkpoints import find_checkpoints

        find_checkpoints(checkpoints.source)  # what is wrong with the folder is said before torch is imported
    folder, output = place_for(output, default_folder(checkpoints.source, "-track"))

    from sinkscope.tracking.kept import KIND
    from sinkscope.tracking.run import run_track
    from sinkscope.unfinished import resumable

    request = TrackRequest(checkpoints, model, text, windows, settings, output, method=method)
    with resumable(folder, KIND):
        tracked = run_track(request)
    finish(tracked, folder, force=output.force, json=json)
    if tracked.failed:
        name, reason = next(iter(tracked.failed.items()))
        others = f" (and {', '.join(list(tracked.failed)[1:])})" if len(tracked.failed) > 1 else ""
        raise SinkscopeError(
            f"{len(tracked.failed)} of {len(tracked.failed) + len(tracked.info['checkpoints'])} checkpoints could not "
            f"be measured: {name}{others}; {reason}; once put right, `resume` with `force` measures what is missing"
        )
