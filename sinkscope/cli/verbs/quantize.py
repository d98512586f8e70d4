"""`sinkscope quantize`: what quantization methods cost models, in a run folder."""

from dataclasses import MISSING, replace
from typing import Annotated

from sinkscope.cli import options
from sinkscope.cli.output import finish, place_for, refuse_mistaken, take_place
from sinkscope.cli.signature import Offered
from sinkscope.errors import RequestError
from sinkscope.inputs import ModelSource, Output, TextSource, Windows
from sinkscope.launch.collector import importing
from sinkscope.methods.grammar import check_method
from sinkscope.quantization.settings import QuantizationRequest, QuantizationSettings

_OUT = {"text": "Folder for the run.", "default": MISSING}
_RESUME = {"text": "Go on with an interrupted run: measure what is missing."}
_BEHIND = {"text": "Text to calibrate on, as `data`; default: that text, behind the evaluated sequences."}


def quantize(
    models: options.Models,
    output: Annotated[Output, Offered("out", "force", "resume", out=_OUT, resume=_RESUME)],
    settings: Annotated[QuantizationSettings, Offered(calibration_data=_BEHIND)],
    model: Annotated[ModelSource, Offered(but=["name", "quantize"])],
    text: TextSource,
    windows: Windows,
    json: options.Json = False,
) -> None:
    """Quantize models by several methods and measure what each costs, where, and by how much."""
    if not settings.methods:
        raise RequestError("`methods` names none: `none` alone measures the models as they are")
    for method in settings.methods:
        check_method(method, "methods")
    sources = tuple(replace(model, name=name) for name in models)
    refuse_mistaken(*sources, text=text)
    folder, output = place_for(output)
    if settings.save is not None:
        take_place(settings.save)

    with importing():
        from sinkscope.quantization.run import run_quantization
        from sinkscope.quantization.state import KIND
        from sinkscope.unfinished import resumable

    with resumable(folder, KIND):
        result = run_quantization(QuantizationRequest(sources, text, windows, settings, output))
    finish(result, folder, force=output.force, json=json)
