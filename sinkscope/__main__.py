"""`python -m sinkscope`, and the entry point of the `sinkscope` command."""

import sys

try:
    from sinkscope.cli import main
except KeyboardInterrupt:  # there is nobody yet who would turn it into a line
    sys.stderr.write("sinkscope: interrupted\n")
    raise SystemExit(1) from None

if __name__ == "__main__":
    sys.exit(main())
