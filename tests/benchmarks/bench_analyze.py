r"""Speed and memory of `sinkscope.analyze` beside a bare forward and backward and beside the naive way.

    python tests/benchmarks/bench_analyze.py [--write-docs]
    python tests/benchmarks/bench_analyze.py --model FOLDER --tokens 2048 --total-tokens 2048 \
        --methods input-gradients analyze-early

Every measurement is a process of its own (`workloads.py`). Repetitions are interleaved, A B C A B C, so that a machine
that warms up or gets busy touches all methods alike; medians are shown, and ratios to the cheapest way to any
activation gradient: one forward, one backward with frozen parameters. No time is asserted: it is a table to read.
"""

import argparse
import importlib.metadata
import json
import platform
import re
import signal
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
COMMAND = "python tests/benchmarks/bench_analyze.py --write-docs"
BASE = "input-gradients"
LABELS = {
    BASE: "forward + backward to activations",
    "analyze-early": "`analyze`",
    "analyze-all": "`analyze --columns all`",
    "training": "forward + backward with weight gradients",
    "naive": "naive: eager maps, `retain_grad` on every site",
}


class Cost(NamedTuple):
    """Medians over repetitions: seconds and bytes, or None where the method ran out of memory."""

    seconds: float
    bytes: float


Costs = dict[tuple[str, int], Cost | None]


def measure(method: str, tokens: int, limit_gib: float, more: list[str]) -> Cost | None:
    """Runs one measurement in a fresh process; None where it ran out of memory."""
    command = [sys.executable, str(HERE / "workloads.py"), method, str(tokens), str(limit_gib), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode in (-signal.SIGKILL, -signal.SIGABRT):
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    return None if "failed" in result else Cost(result["seconds"], result["bytes"])


def measure_all(methods: list[str], lengths: list[int], repetitions: int, limit_gib: float, more: list[str]) -> Costs:
    """Interleaved measurements and their medians; a method that failed at a length is not tried there again."""
    samples: dict[tuple[str, int], list[Cost]] = defaultdict(list)
    failed: set[tuple[str, int]] = set()
    console = Console(stderr=True)
    for tokens in lengths:
        for repetition in range(repetitions):
            for method in methods:
                if (method, tokens) in failed:
                    continue
                cost = measure(method, tokens, limit_gib, more)
                console.print(f"{tokens} tokens, {method}, {repetition + 1}/{repetitions}: {_cell(cost, None)}")
                if cost is None:
                    failed.add((method, tokens))
                else:
                    samples[method, tokens].append(cost)
    medians: Costs = {
        place: Cost(statistics.median(c.seconds for c in costs), statistics.median(c.bytes for c in costs))
        for place, costs in samples.items()
    }
    return medians | dict.fromkeys(failed)


def exponent(costs: Costs, method: str) -> float | None:
    """Least-squares slope of log memory against log tokens; None where fewer than two lengths succeeded."""
    points = [(tokens, cost.bytes) for (name, tokens), cost in costs.items() if name == method and cost is not None]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def table(costs: Costs, methods: list[str], lengths: list[int]) -> str:
    """The results as one markdown table: a row per length, a column per method."""
    lines = [
        "| tokens | " + " | ".join(LABELS[method] for method in methods) + " |",
        "|---:|" + "---|" * len(methods),
    ]
    for tokens in lengths:
        cells = [_cell(costs[method, tokens], costs[BASE, tokens]) for method in methods]
        lines.append(f"| {tokens} | " + " | ".join(cells) + " |")
    slopes = [exponent(costs, method) for method in methods]
    cells = ["not fitted" if slope is None else f"tokens^{slope:.2f}" for slope in slopes]
    lines.append("| memory grows as | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe(repetitions: int, limit_gib: float) -> str:
    """What was measured, on what, and by which command."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    return (
        "8192 tokens, one sequence of the given length per pass, through a random 4-layer Llama "
        "(256 wide, 4 heads of 64, MLP 704, vocabulary 2048), float32, "
        f"on {torch.get_num_threads()} threads of {_processor()}; {versions}. Time, and peak memory added to the "
        f"process: medians of {repetitions} interleaved processes each; in brackets the ratios to the first column. "
        f'"fails" needs more than {limit_gib:g} GiB. Made by `{COMMAND}`.'
    )


def replace_block(text: str, block: str) -> str:
    """Puts `block` between the markers of docs/benchmarks.md.

    Raises:
        ValueError: if the markers are not there exactly once.
    """
    result, count = re.subn(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{block}\n{END}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"expected one block {BEGIN} ... {END}, found {count}")
    return result


def _cell(cost: Cost | None, base: Cost | None) -> str:
    if cost is None:
        return "fails"
    seconds, mebibytes = f"{cost.seconds:.2f} s", f"{cost.bytes / 2**20:.0f} MiB"
    if base is None:
        return f"{seconds}, {mebibytes}"
    return f"{seconds} ({cost.seconds / base.seconds:.1f}x), {mebibytes} ({cost.bytes / base.bytes:.1f}x)"


def _processor() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--methods", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--limit-gib", type=float, default=12.0, help="memory that a run may add before it fails")
    parser.add_argument("--model", help="folder of a model to measure on; by default a small random one")
    parser.add_argument("--total-tokens", type=int, default=8192, help="of all sequences of a measurement")
    parser.add_argument(
        "--write-docs", "--write-readme", action="store_true", help="replace the block of docs/benchmarks.md"
    )
    arguments = parser.parse_args()
    if BASE not in arguments.methods:
        parser.error(f"--methods must hold {BASE}, which the ratios are to")
    if arguments.write_docs and arguments.model:
        parser.error("the block of docs/benchmarks.md is that of the small random model")
    more = ["--total-tokens", str(arguments.total_tokens), *(["--model", arguments.model] if arguments.model else [])]
    costs = measure_all(arguments.methods, arguments.tokens, arguments.repetitions, arguments.limit_gib, more)
    result = table(costs, arguments.methods, arguments.tokens)
    if not arguments.model:
        result = f"{describe(arguments.repetitions, arguments.limit_gib)}\n\n{result}"
    print(result)
    if arguments.write_docs:
        PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    main()
