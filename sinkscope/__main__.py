"""`python -m sinkscope`, and the entry point of the `sinkscope` command."""

import os
import sys


def main() -> int:
    """Runs the command line; what it imports first takes a moment, in which Ctrl-C ends in one line, too."""
    try:
        from sinkscope.cli import main as run
    except KeyboardInterrupt:
        os.write(2, b"sinkscope: interrupted\n")
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
