"""`sinkscope evaluate`: from a model to what it can do: perplexity, needles in a haystack, tasks."""

from typing import Annotated

from sinkscope.cli import options
from sinkscope.cli.output import default_folder, finish, place_for, refuse_mistaken
from sinkscope.cli.signature import Offered
from sinkscope.evaluation.settings import EvaluationRequest, EvaluationSettings
from sinkscope.inputs import DEFAULT_SEQUENCES, MethodOptions, ModelSource, Output, TextSource, Windows
from sinkscope.launch.collector import importing
from sinkscope.names import GENERATING_METHODS, METHODS

_SEQUENCES = {"text": f"Sequences of it; default: {DEFAULT_SEQUENCES}."}

_METHODS = {"text": f"Quantization method to measure the model under: {METHODS}, {GENERATING_METHODS}."}
_BUDGET = {"text": "Time to fit: chooses the `documents` and `seeds` that are not given."}


def evaluate(
    model: Annotated[ModelSource, Offered(quantize=_METHODS)],
    text: TextSource,
    windows: Annotated[Windows, Offered("bos", "batch_size", "budget", budget=_BUDGET)],
    settings: EvaluationSettings,
    method: Annotated[MethodOptions, Offered(calibration_sequences=_SEQUENCES)],
    output: Annotated[
        Output, Offered("out", "force", out={"text": "Folder for the run; by default runs/<model>-evaluation."})
    ],
    haystack: options.Haystack = "stdlib",
    json: options.Json = False,
) -> None:
    """Evaluate a model: perplexity, needles in a haystack, tasks of lm-evaluation-harness."""
    refuse_mistaken(model, text=text, caches=True)
    folder, output = place_for(output, default_folder(model.name, "-evaluation"))

    with importing():
        from sinkscope.evaluation.run import run_evaluation

    request = EvaluationRequest(model, text, windows, haystack, settings, output, method=method)
    finish(run_evaluation(request), folder, force=output.force, json=json)
