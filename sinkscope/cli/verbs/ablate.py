"""`sinkscope ablate`: from a model and a run of it to what is lost with its outliers."""

from typing import Annotated

from sinkscope.ablation.settings import AblationRequest, AblationSettings
from sinkscope.cli import options
from sinkscope.cli.output import default_folder, finish, place_for, refuse_mistaken
from sinkscope.cli.signature import Offered
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows

_SEQUENCES = {"text": "Number of sequences; by default those of the run, or 32, or what `budget` allows."}
_TOKENS = {"text": "Tokens per sequence; by default those of the run, or the model's context, at most 2048."}


def ablate(
    model: ModelSource,
    settings: AblationSettings,
    text: TextSource,
    windows: Annotated[
        Windows, Offered("bos", "sequences", "tokens", "batch_size", "budget", sequences=_SEQUENCES, tokens=_TOKENS)
    ],
    method: MethodOptions,
    output: Annotated[
        Output,
        Offered(
            out={"text": "Folder for the run; by default runs/<model>-ablation."},
            resume={"text": "Go on with an interrupted run: measure what is missing."},
        ),
    ],
    haystack: options.Haystack = "stdlib",
    json: options.Json = False,
) -> None:
    """Take a model's outliers away, one kind after another, and measure what is lost, against random controls."""
    folder, output = place_for(output, default_folder(model.name, "-ablation"))
    refuse_mistaken(model, text=text)
    if settings.run is not None:
        from sinkscope.ablation.known import analysis_at

        analysis_at(settings.run)  # what is wrong with the run is said before torch is imported

    from sinkscope.ablation.kept import KIND
    from sinkscope.ablation.run import run_ablation
    from sinkscope.unfinished import resumable

    request = AblationRequest(model, text, windows, haystack, settings, output, method=method)
    with resumable(folder, KIND):
        result = run_ablation(request)
    finish(result, folder, force=output.force, json=json)
