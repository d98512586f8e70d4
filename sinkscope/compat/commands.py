"""typer's classes of commands and groups, and its usage error.

Needed: help is laid out and Ctrl-C handled by methods overridden in these classes, and what a user got wrong on the
command line ends as one line. The classes stand in `typer.core`, which is documented for parts only. The base of all
errors about a command line belongs to the library below typer, and which library that is changed between releases; it
is the base of the one that typer exports.

Public alternative: `typer.UsageError`, if exported.
"""

from typing import Any

import typer
import typer.core

Group = typer.core.TyperGroup
Command = typer.core.TyperCommand
UsageError: Any = typer.BadParameter.__bases__[0]
