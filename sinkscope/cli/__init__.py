"""The command line: one short function per verb, each in a module of its own.

Nothing heavy is imported before a verb runs, so that `--help` answers at once. Results go to stdout, everything else to
stderr.
"""

from sinkscope.cli.app import main

__all__ = ["main"]
