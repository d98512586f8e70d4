"""The frame around the verbs: how they are found, how help looks, and how errors end.

Whatever is wrong with a request ends as one line on stderr and an exit code: 2 where it could never work, 1 where it
failed on the way.
"""

import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any

import typer

from sinkscope.cli.examples import EXAMPLES
from sinkscope.cli.flags import with_flags
from sinkscope.cli.output import give_up_places
from sinkscope.cli.signature import command
from sinkscope.cli.verbs import SHARED, VERBS
from sinkscope.compat.commands import (
    Command,
    Group,
    UsageError,
    install_completion,
    ready_to_complete,
    show_completion,
)
from sinkscope.errors import SinkscopeError
from sinkscope.launch.environment import is_main_process, process_count
from sinkscope.launch.exit_codes import exit_code
from sinkscope.launch.interrupts import insistent_interrupts, terminations_as_interrupts
from sinkscope.progress.display import say
from sinkscope.terminal import complain, tell, without_readers
from sinkscope.version import __version__

_MOMENT = 1.0  # seconds


class _Verbs(Group):
    """Turns Ctrl-C into an ordinary error before typer maps it to an exit code of its own.

    The shell convention would be 130. Every other way to fail here ends with 1 or 2, and a caller that tests for those
    should not need a third: an interrupted run is one that failed on the way.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb with its options, made when it is asked for: those of all verbs take longer than Python's start."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, stand_in and verb_command(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise SinkscopeError("interrupted") from error
        finally:
            give_up_places()


class _Verb(Command):
    """A verb whose `--help` lists its options in plain text, under the titles of their panels.

    typer draws the panels with rich, and importing rich would double the time that `--help` takes.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes one section per panel, in the order of the signature."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None)
                section = panel or ("Arguments" if parameter.param_type_name == "argument" else "Options")
                sections.setdefault(section, []).append(record)
        for section, records in ((name, listed) for name, listed in sections.items() if listed):
            with formatter.section(section):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  (the base class's signature)
        """Writes the examples, a line each, so that they can be copied."""
        with formatter.section("Examples"):
            for line in EXAMPLES[str(self.name)]:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


# The group's own --help and completion are declared below: typer's load pydantic whenever they are not given.
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
    typed = list(sys.argv[1:] if arguments is None else arguments)
    without_readers()
    if "_SINKSCOPE_COMPLETE" in os.environ:
        ready_to_complete()
    try:
        # Of several processes each is ended by its launcher, at once.
        ending = terminations_as_interrupts() if process_count() == 1 else nullcontext()
        with insistent_interrupts() as interrupts, ending, _advice(typed):
            try:
                code = app(args=arguments, prog_name="sinkscope", standalone_mode=False)
            except KeyboardInterrupt:
                return _complain("interrupted", 1)
            except (SinkscopeError, UsageError, OSError):
                raise
            except Exception:
                if interrupts.any:  # and a library made something else of it
                    return _complain("interrupted", 1)
                raise
    except SinkscopeError as error:
        return _complain(with_flags(str(error), _flags(typed), typed), exit_code(error))
    except UsageError as error:
        if not is_main_process():  # the others say the same, and launchers end all with the first to end
            time.sleep(_MOMENT)
            return int(error.exit_code)
        return _complain(_without_budget(error) or f"{error.format_message()} (--help shows how)", error.exit_code)
    except KeyboardInterrupt:  # before a verb has begun, or after it
        return _complain("interrupted", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", 1)
    return code if isinstance(code, int) else 0


@functools.cache
def verb_command(name: str) -> Any:
    """A verb as typer runs it."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(cls=_Verb)(command(next(verb for verb in VERBS if verb.__name__ == name)))
    return typer.main.get_command(alone)


# Verbs that take no budget, and what makes them short instead.
_NO_BUDGET = {
    "compare": "models are measured like the first run: use fewer `sequences` or `tokens`",
    "finetune": "a training is as long as its `steps`",
    "plan": "it measures nothing: it says how long `sequences` of `tokens` would take",
    "pretrain": "a training is as long as its `steps`",
    "reproduce": "it is as long as its trainings, and `dry_run` says how long: use a smaller `scale`",
}


def _without_budget(error: UsageError) -> str | None:
    """Why a verb takes no budget, where one was typed; None for any other error."""
    verb = error.ctx.info_name if error.ctx is not None else None
    if getattr(error, "option_name", None) != "--budget" or verb not in _NO_BUDGET:
        return None
    return with_flags(f"{verb} takes no --budget: {_NO_BUDGET[verb]}")


def _flags(typed: Sequence[str]) -> frozenset[str]:
    """The options of the verb that was typed; those of all where none was."""
    names = [verb.__name__ for verb in VERBS]
    verb = next((word for word in typed if word in names), None)
    parameters = (parameter for name in (names if verb is None else [verb]) for parameter in verb_command(name).params)
    return frozenset(flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts))


class _Advice(logging.Handler):
    """What the library logs, on stderr, with options for fields."""

    def __init__(self, typed: Sequence[str]) -> None:
        super().__init__(logging.WARNING)
        self._typed = typed

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record."""
        say(with_flags(record.getMessage(), _flags(self._typed), self._typed))


@contextmanager
def _advice(typed: Sequence[str]) -> Iterator[None]:
    """While entered, warnings of the library are printed in the command line's words."""
    log, handler = logging.getLogger("sinkscope"), _Advice(typed)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _complain(message: str, code: int) -> int:
    complain("sinkscope: " + " ".join(message.split()))
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        tell(f"sinkscope {__version__}")
        raise typer.Exit


def _print_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        tell(context.get_help())
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
    install: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--install-completion",
            callback=install_completion,
            is_eager=True,
            help="Install completion for this shell.",
        ),
    ] = False,
    show: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--show-completion",
            callback=show_completion,
            is_eager=True,
            help="Print the script that completion installs.",
        ),
    ] = False,
) -> None:
    """Measure attention sinks, gradient sinks and massive activations of causal language models."""
    _print_help(context, context.invoked_subcommand is None)
    if process_count() > 1 and context.invoked_subcommand not in SHARED:
        raise UsageError(f"{context.invoked_subcommand} runs in one process; several share {', '.join(SHARED)}")


def _listed(verb: Callable[..., None]) -> Callable[[], None]:
    """What stands for a verb until it is asked for: its name and its sentence, without the options."""

    def stand_in() -> None:
        raise AssertionError(f"{verb.__name__} was not built")

    stand_in.__name__, stand_in.__doc__ = verb.__name__, verb.__doc__
    return stand_in


for _verb in VERBS:
    app.command()(_listed(_verb))
