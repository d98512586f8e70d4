"""The drivers side by side: seconds, peak memory, and how far their tables agree.

    python tests/benchmarks/random_model.py /tmp/300m --preset 300m --sinks
    python tests/benchmarks/bench_streamed.py /tmp/300m [--write-docs]

Every analysis is a process of its own (`analyze_once.py`); loading the weights counts. Repetitions are interleaved, so
that a machine that warms up or gets busy touches all drivers alike, and medians are shown. Tables are compared with the
resident driver's entry by entry (`agreement.py`), in the same run as the times. Nothing is asserted: it is a table to
read.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from agreement import Difference, largest_difference
from analyze_once import DRIVERS
from process import library_versions, processor, write_docs
from rich.console import Console

from sinkscope.tables.run_folder import read_run

HERE = Path(__file__).parent
BLOCK = "streamed-benchmark"
BASE = "resident"
LABELS = {
    BASE: "`analyze`, resident",
    "layer_by_layer": "`--gradient-checkpointing`",
    "streamed": "`--stream`",
    "spilled": "`--stream --spill DIR`",
}


class Result(NamedTuple):
    """Medians over repetitions, and the difference of the tables to the resident driver's."""

    seconds: float
    bytes: float
    anonymous: float
    difference: Difference


def run_once(folder: Path, out: Path, driver: str, options: argparse.Namespace) -> dict[str, float]:
    """One analysis in a fresh process; its run is written to `out`."""
    command = [sys.executable, str(HERE / "analyze_once.py"), str(folder.resolve()), str(out), "--driver", driver]
    for name in ("tokens", "sequences", "batch_size", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out.parent)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare_drivers(folder: Path, options: argparse.Namespace) -> dict[str, Result]:
    """Interleaved analyses by every driver."""
    console = Console(stderr=True)
    costs: dict[str, list[dict[str, float]]] = defaultdict(list)
    differences: dict[str, Difference] = {}
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        reference = None
        for repetition in range(options.repetitions):
            for driver in options.drivers:
                out = Path(work) / f"{driver}-{repetition}"
                cost = run_once(folder, out, driver, options)
                costs[driver].append(cost)
                run = read_run(out)
                reference = reference or run
                worst = largest_difference(reference, run)
                differences[driver] = max(differences.get(driver, worst), worst, key=lambda found: found.value)
                console.print(
                    f"{driver}, {repetition + 1}/{options.repetitions}: {cost['seconds']:.1f} s, "
                    f"{cost['bytes'] / 2**20:.0f} MiB, {worst.value:.1e} ({worst.where})"
                )
    return {
        driver: Result(*(statistics.median(c[k] for c in found) for k in ("seconds", "bytes", "anonymous")),
                       differences[driver])
        for driver, found in costs.items()
    }  # fmt: skip


def table(results: dict[str, Result]) -> str:
    """The results as one markdown table: a row per driver."""
    base = results[BASE]
    lines = [
        "| driver | seconds | peak memory | of which not file pages | largest difference of a table entry |",
        "|---|---:|---:|---:|---:|",
    ]
    for driver, result in results.items():
        cells = [
            LABELS[driver],
            f"{result.seconds:.1f} ({result.seconds / base.seconds:.2f}x)",
            f"{result.bytes / 2**20:,.0f} MiB ({result.bytes / base.bytes:.2f}x)",
            f"{result.anonymous / 2**20:,.0f} MiB",
            f"{result.difference.value:.1e}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe(folder: Path, options: argparse.Namespace) -> str:
    """What was measured, on what, and by which command."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    size = index["metadata"]["total_size"] / 2**30
    return (
        f"A random {config['model_type']} of {config['num_hidden_layers']} layers, {config['hidden_size']} wide, MLP "
        f"{config['intermediate_size']}, vocabulary {config['vocab_size']} ({size:.2f} GiB in {config['dtype']}); "
        f"{options.sequences} sequences of {options.tokens} tokens, {options.batch_size} per pass, on "
        f"{options.threads} threads of {processor()}; {library_versions()}. Medians over "
        f"{options.repetitions} interleaved process(es) per driver, "
        "loading included; memory above the imports; in brackets the ratios to the first row. The last column compares "
        "every numeric entry of every table with the first row's, relative to the largest entry of its column in the "
        "same layer and site. Made by `python tests/benchmarks/bench_streamed.py FOLDER "
        f"--tokens {options.tokens} --sequences {options.sequences} --repetitions {options.repetitions} "
        "--write-docs`."
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a model written by random_model.py")
    parser.add_argument("--drivers", nargs="+", choices=LABELS, default=list(DRIVERS))
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, help="where runs and spilled states go; a temporary folder by default")
    parser.add_argument(
        "--write-docs", "--write-readme", action="store_true", help="replace the block of docs/benchmarks.md"
    )
    options = parser.parse_args()
    if options.drivers[0] != BASE:
        parser.error(f"--drivers must begin with {BASE}, which the ratios are to")
    result = f"{describe(options.folder, options)}\n\n{table(compare_drivers(options.folder, options))}"
    print(result)
    if options.write_docs:
        write_docs(result, BLOCK)


if __name__ == "__main__":
    main()
