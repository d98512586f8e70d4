"""The command line: one short function per verb.

Nothing heavy is imported before a verb runs, so that `--help` answers at once. Whatever is wrong with a request ends as
one line on stderr and an exit code: 2 where it could never work, 1 where it failed on the way. Results go to stdout,
everything else to stderr.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

import sinkscope
from sinkscope import options
from sinkscope.errors import SinkscopeError
from sinkscope.interrupt import insistent_interrupts
from sinkscope.settings import Settings

if TYPE_CHECKING:
    from sinkscope.tables.store import Run

# Base of all that typer raises for a command line it cannot parse; typer itself does not export the name.
_UsageError: Any = typer.BadParameter.__bases__[0]


class _Verbs(typer.core.TyperGroup):
    """Turns Ctrl-C into an ordinary error before typer maps it to an exit code of its own.

    The shell convention would be 130. Every other way to fail here ends with 1 or 2, and a caller that tests for those
    should not need a third: an interrupted run is one that failed on the way.
    """

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise SinkscopeError("interrupted") from error


class _Verb(typer.core.TyperCommand):
    """Lists options by their help panels, in plain text: loading rich for it would double the time that help takes."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes one section per panel, in the order of the signature."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None)
                section = panel or ("Arguments" if parameter.param_type_name == "argument" else "Options")
                sections.setdefault(section, []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


# The group's own --help is declared below: typer's loads pydantic whenever it is not given.
app = typer.Typer(
    cls=_Verbs, add_completion=False, add_help_option=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; None takes `sys.argv`.

    Returns:
        The exit code.
    """
    try:
        with insistent_interrupts():
            code = app(args=arguments, prog_name="sinkscope", standalone_mode=False)
    except SinkscopeError as error:
        return _complain(str(error), error.exit_code)
    except _UsageError as error:
        return _complain(f"{error.format_message()} (--help shows how)", error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", 1)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    typer.echo("sinkscope: " + " ".join(message.split()), err=True)
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sinkscope {sinkscope.__version__}")
        raise typer.Exit


def _print_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(context.get_help())
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  (its callback has answered)
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    help_: Annotated[  # noqa: ARG001
        bool, typer.Option("--help", callback=_print_help, is_eager=True, help="Show this message.")
    ] = False,
) -> None:
    """Measure attention sinks, gradient sinks and massive activations of causal language models."""
    _print_help(context, context.invoked_subcommand is None)


@app.command(cls=_Verb)
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
    out: options.Out = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Measure a model and write a run folder: tables, figures and a report."""
    settings = Settings(
        sink_epsilon=sink_epsilon,
        sink_window=sink_window,
        early=early,
        positions=positions,
        columns=columns,
        backward=not no_backward,
    )
    folder = out if out is not None else _default_folder(model)
    from sinkscope.tables.store import INFO_FILE, check_target

    check_target(folder, force=force)

    from sinkscope import api

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
        progress=sys.stderr.isatty(),
        revision=revision,
        dtype=dtype,
        device=device,
        device_map=device_map,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    analysis.info["command"] = shlex.join(["sinkscope", *sys.argv[1:]])
    analysis.save(folder, force=force)
    if json:
        typer.echo((folder / INFO_FILE).read_text(encoding="utf-8"))
    else:
        _show(analysis.run, folder)


@app.command(cls=_Verb)
def pretrain(
    recipe: options.Recipe,
    out: options.TrainingOut,
    set_: options.Set = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    resume: options.Resume = False,
) -> None:
    """Train a model from scratch by a recipe."""
    from sinkscope.config import load_recipe
    from sinkscope.training.recipes import find_recipe, parse_overrides

    overrides = parse_overrides(set_ or [])
    overrides |= {key: value for key, value in (("schedule.steps", steps), ("seed", seed)) if value is not None}
    plan = load_recipe(find_recipe(recipe), overrides)

    from sinkscope.training.loop import pretrain as train

    typer.echo(f"model: {train(plan, out, resume=resume)}")


def _show(run: "Run", folder: Path) -> None:
    from rich.console import Console

    from sinkscope.report.terminal import summary

    if sys.stdout.isatty():
        Console().print(summary(run))
    else:
        typer.echo(str(summary(run)))
    typer.echo(f"tables, figures and report.pdf: {folder}")


def _default_folder(model: str) -> Path:
    """`runs/<model>`: a folder's own name, or a Hub id with its owner."""
    path = Path(model).expanduser()
    return Path("runs") / (path.resolve().name if path.is_dir() else "--".join(path.parts[-2:]))
