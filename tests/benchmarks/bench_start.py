"""What the command line takes before it works, over a bare interpreter: ratios, interleaved, medians.

    python tests/benchmarks/bench_start.py [--repetitions 9]

Seconds of the processor, which other work on the machine disturbs least. Nothing is asserted: it is a table to read.
The goal for every `--help` is 10.
"""

import argparse
import resource
import statistics
import subprocess
import sys

from sinkscope.cli.verbs import VERBS

PROGRAM = [sys.executable, "-m", "sinkscope"]
BARE = "a bare interpreter"
COMMANDS = {
    BARE: [sys.executable, "-c", "pass"],
    "--help": [*PROGRAM, "--help"],
    **{f"{verb.__name__} --help": [*PROGRAM, verb.__name__, "--help"] for verb in VERBS},
    "a mistyped folder": [*PROGRAM, "analyze", "./no/such-model"],
    "no sequences": [*PROGRAM, "analyze", "demo", "--sequences", "0"],
    "a missing text": [*PROGRAM, "analyze", "demo", "--data", "no/such.txt"],
}


def seconds(command: list[str]) -> float:
    """Processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    repetitions = parser.parse_args().repetitions
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repetitions):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    bare = statistics.median(taken[BARE])
    for name, times in taken.items():
        print(f"{name:20} {statistics.median(times):6.3f} s {statistics.median(times) / bare:6.1f}")


if __name__ == "__main__":
    main()
