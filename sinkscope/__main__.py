"""`python -m sinkscope`, and the entry point of the `sinkscope` command."""

import gc
import sys
from collections.abc import Sequence

try:
    from sinkscope import cli, heap
except KeyboardInterrupt:  # there is nobody yet who would turn it into a line
    sys.stderr.write("sinkscope: interrupted\n")
    raise SystemExit(1) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line in a process that is its own: memory is kept, and nothing is left to collect.

    At its end Python looks for garbage among everything that torch and its like have imported, several times and for
    seconds, to free memory that is gone with the process anyhow.

    Args:
        arguments: without the program's name; None takes `sys.argv`.

    Returns:
        The exit code.
    """
    heap.keep()
    code = cli.main(arguments)
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(main())
