"""`sinkscope report`: a report made anew from the tables of a run."""

from sinkscope.cli import options
from sinkscope.launch.collector import importing
from sinkscope.progress.display import ended
from sinkscope.terminal import readable, tell


def report(
    run: options.RunFolder,
    format_: options.Format = None,
    style: options.Style = "page",
    width: options.Width = 3.3,
    out: options.ReportOut = None,
    force: options.ReportForce = False,
) -> None:
    """Draw the report of a run folder again, from its tables alone."""
    from sinkscope.tables.run_folder import check_is_run

    check_is_run(run.expanduser())  # before matplotlib is imported

    with importing():
        from sinkscope.report.redraw import redraw

    formats = None if format_ is None else [name.strip() for name in format_.split(",")]
    for path in redraw(run.expanduser(), formats, out, force=force, style=style, width=width):
        ended()
        tell(readable(path))
