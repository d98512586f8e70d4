"""`sinkscope compare`: from runs, or models, to a comparison with verdicts."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from sinkscope.cli import options
from sinkscope.cli.output import command_line, finish, place_for, refuse_mistaken
from sinkscope.cli.signature import Offered
from sinkscope.comparison.settings import ComparisonRequest, ComparisonSettings, LikeFirst
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource

USUAL = Path("runs/comparison")


def compare(
    runs: options.Runs,
    settings: ComparisonSettings,
    model: Annotated[ModelSource, Offered(but=["name", "revision"])],
    text: Annotated[TextSource, Offered(but=["data"])],
    like: LikeFirst,
    method: MethodOptions,
    output: Annotated[Output, Offered("out", "force", out={"text": "Folder for the comparison.", "default": USUAL})],
    json: options.Json = False,
) -> None:
    """Compare runs, or models measured alike, with the first of them."""
    from sinkscope.comparison.members import members

    chosen = members(runs)  # what is wrong with a folder or a model's name is said before a model loads
    refuse_mistaken(*(replace(model, name=member.source) for member in chosen if not member.is_run))
    folder, output = place_for(output, USUAL)

    from sinkscope.comparison.run import run_comparison

    request = ComparisonRequest(tuple(runs), settings, model, text, like, output, command_line(), method=method)
    finish(run_comparison(request), folder, force=output.force, json=json)
