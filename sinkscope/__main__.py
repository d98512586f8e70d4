"""`python -m sinkscope`, and the entry point of the `sinkscope` command."""

import sys

from sinkscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
