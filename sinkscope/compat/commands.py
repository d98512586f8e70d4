"""typer's classes of commands and groups, and its usage error.

Needed: help is laid out and Ctrl-C handled by methods overridden in these classes, and what a user got wrong on the
command line ends as one line. The classes stand in `typer.core`, which is documented for parts only. The base of all
errors about a command line belongs to the library below typer, and which library that is changed between releases; it
is the base of the one that typer exports. The callbacks of shell completion stand in `typer.completion`; typer's own
options for it load pydantic in every call that does not give them, so that the program has options of its own.

Public alternative: `typer.UsageError`, if exported.
"""

from typing import Any

import typer
import typer.completion
import typer.core

Group = typer.core.TyperGroup
Command = typer.core.TyperCommand
UsageError: Any = typer.BadParameter.__bases__[0]


def ready_to_complete() -> None:
    """Makes typer's shells known, which it does by itself only for a program with typer's own options for it."""
    typer.completion.get_completion_inspect_parameters()


def install_completion(context: Any, parameter: Any, wanted: bool) -> Any:
    """Typer's callback that installs completion for the shell it runs in, and exits."""
    return typer.completion.install_callback(context, parameter, wanted)


def show_completion(context: Any, parameter: Any, wanted: bool) -> Any:
    """Typer's callback that prints the script of completion for the shell it runs in, and exits."""
    return typer.completion.show_callback(context, parameter, wanted)
