"""Peak memory against tokens, 1k to 32k: by driver, plain, with a sliding window, and padded; the naive way beside.

    python tests/benchmarks/bench_memory.py [--write-docs]

Every measurement is a process of its own (`memory_workloads.py`): one sequence through a small random model. The last
row fits memory = tokens^e. A method that runs out of memory at a length is not tried at longer ones. Nothing is
asserted: it is a table to read.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch
from memory_workloads import KINDS, METHODS, WINDOW
from process import exponent, library_versions, processor, write_docs
from rich.console import Console

HERE = Path(__file__).parent
BLOCK = "memory-benchmark"
LABELS = {
    "resident": "`analyze`",
    "layer_by_layer": "`--gradient-checkpointing`",
    "streamed": "`--stream`",
    "naive": "naive: eager maps, `retain_grad` on every site",
}
KIND_LABELS = {"plain": "", "window": f", window {WINDOW}", "padded": ", padded (`Scope`)"}

Place = tuple[str, str]  # method and kind
PLACES: list[Place] = [(method, kind) for kind in KINDS for method, (*_, kinds) in METHODS.items() if kind in kinds]


class Cost(NamedTuple):
    """Medians over repetitions."""

    seconds: float
    bytes: float


Costs = dict[tuple[Place, int], Cost | None]


def measure(place: Place, tokens: int, limit_gib: float) -> Cost | None:
    """One measurement in a fresh process; None where it ran out of memory."""
    command = [sys.executable, str(HERE / "memory_workloads.py"), *place, str(tokens), str(limit_gib)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode in (-signal.SIGKILL, -signal.SIGABRT):
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    return None if "failed" in result else Cost(result["seconds"], result["bytes"])


def measure_all(places: list[Place], lengths: list[int], repetitions: int, limit_gib: float) -> Costs:
    """Interleaved measurements and their medians."""
    console = Console(stderr=True)
    samples: dict[tuple[Place, int], list[Cost]] = defaultdict(list)
    failed: set[Place] = set()
    costs: Costs = {}
    for tokens in sorted(lengths):
        for repetition in range(repetitions):
            for place in places:
                if place in failed:
                    costs[place, tokens] = None
                    continue
                cost = measure(place, tokens, limit_gib)
                console.print(f"{tokens} tokens, {' '.join(place)}, {repetition + 1}/{repetitions}: {_cell(cost)}")
                if cost is None:
                    failed.add(place)
                    costs[place, tokens] = None
                else:
                    samples[place, tokens].append(cost)
    for key, found in samples.items():
        costs.setdefault(
            key, Cost(statistics.median(c.seconds for c in found), statistics.median(c.bytes for c in found))
        )
    return costs


def table(costs: Costs, places: list[Place], lengths: list[int]) -> str:
    """The results as one markdown table: a row per length, a column per method and kind."""
    titles = [LABELS[method] + KIND_LABELS[kind] for method, kind in places]
    rows = [(tokens, [_cell(costs[place, tokens]) for place in places]) for tokens in sorted(lengths)]
    lines = [
        "| tokens | " + " | ".join(titles) + " |",
        "|---:|" + "---:|" * len(places),
        *(f"| {tokens} | " + " | ".join(cells) + " |" for tokens, cells in rows),
    ]
    slopes = []
    for place in places:
        found = [(tokens, cost.bytes) for tokens in lengths if (cost := costs[place, tokens]) is not None]
        slope = exponent(found)
        slopes.append("not fitted" if slope is None else f"tokens^{slope:.2f}")
    lines.append("| memory grows as | " + " | ".join(slopes) + " |")
    return "\n".join(lines)


def describe(repetitions: int, limit_gib: float) -> str:
    """What was measured, on what, and by which command."""
    return (
        "One sequence through a random 4-layer Llama, with a window a Mistral (256 wide, 4 heads of 64, MLP 704, "
        f"vocabulary 2048), float32, on {torch.get_num_threads()} threads of {processor()}; {library_versions()}. Peak "
        f"memory that the analysis adds, and its time: medians of {repetitions} interleaved processes each. "
        f'"fails" needs more than {limit_gib:g} GiB. Made by `python tests/benchmarks/bench_memory.py --write-docs`.'
    )


def _cell(cost: Cost | None) -> str:
    return "fails" if cost is None else f"{cost.bytes / 2**20:,.0f} MiB, {cost.seconds:.1f} s"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16384, 32768])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--limit-gib", type=float, default=12.0, help="memory that a run may add before it fails")
    parser.add_argument(
        "--write-docs", "--write-readme", action="store_true", help="replace the block of docs/benchmarks.md"
    )
    options = parser.parse_args()
    places = [(method, kind) for method, kind in PLACES if method in options.methods and kind in options.kinds]
    if not places:
        parser.error("no method can do such a kind")
    costs = measure_all(places, options.tokens, options.repetitions, options.limit_gib)
    result = f"{describe(options.repetitions, options.limit_gib)}\n\n{table(costs, places, options.tokens)}"
    print(result)
    if options.write_docs:
        write_docs(result, BLOCK)


if __name__ == "__main__":
    main()
