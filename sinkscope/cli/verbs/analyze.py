"""`sinkscope analyze`: from a model to a run folder with tables, figures and a report."""

from typing import Annotated

from sinkscope.analysis.settings import AnalysisRequest, DriverChoice
from sinkscope.capture.settings import Settings
from sinkscope.cli import options
from sinkscope.cli.output import default_folder, finish, place_for, refuse_mistaken
from sinkscope.cli.signature import Offered
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows
from sinkscope.launch.environment import is_main_process, launched_together


def analyze(
    model: ModelSource,
    text: TextSource,
    windows: Windows,
    settings: Settings,
    driver: DriverChoice,
    method: MethodOptions,
    output: Annotated[
        Output,
        Offered(
            force={"text": "Replace an existing run folder, and throw away an interrupted analysis."},
            resume={"text": "Go on with an interrupted analysis."},
        ),
    ],
    json: options.Json = False,
) -> None:
    """Measure a model and write a run folder: tables, figures and a report."""
    with launched_together() as processes:
        refuse_mistaken(model, text=text)
        folder, output = place_for(output, default_folder(model.name))

        from sinkscope.analysis.journal import KIND
        from sinkscope.analysis.run import run_analysis
        from sinkscope.unfinished import resumable

        request = AnalysisRequest(model, text, windows, settings, driver, output, method=method)
        with resumable(folder, KIND):
            analysis = run_analysis(request, processes=processes)
        if is_main_process():
            finish(analysis, folder, force=output.force, json=json)
