"""`sinkscope reproduce`: the paper from one command, or its claims on a model that there is."""

from dataclasses import replace
from typing import Annotated

from sinkscope.cli.output import command_line, refuse_mistaken, show
from sinkscope.cli.signature import Offered
from sinkscope.inputs import ModelSource, TextSource
from sinkscope.launch.collector import importing
from sinkscope.progress.display import ended
from sinkscope.reproduction.settings import Place, ReproductionRequest, Subject
from sinkscope.terminal import tell


def reproduce(
    subject: Subject,
    model: Annotated[ModelSource, Offered("revision", "gguf_file", "dtype", "device")],
    place: Place,
) -> None:
    """Train the paper's trio at some scale, measure it, and test every claim; or test a model that there is."""
    if subject.on is not None:
        refuse_mistaken(replace(model, name=subject.on))
    if subject.data is not None:
        refuse_mistaken(text=TextSource(subject.data))
    if subject.scale is not None:
        from sinkscope.reproduction.scales import scale_of

        scale_of(subject.scale)

    with importing():
        from sinkscope.reproduction.run import forecast, forecast_lines, read_report
        from sinkscope.reproduction.run import reproduce as run

    request = ReproductionRequest(subject, place, model, command_line())
    if place.dry_run:
        lines = forecast_lines(forecast(request))
        ended()
        for line in lines:
            tell(line)
        return
    report = run(request)
    if report is not None:
        show(read_report(report.parent), report)
