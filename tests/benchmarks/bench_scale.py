"""Time and memory of an analysis against layers, width, tokens, sequences and processes, with fitted exponents.

    python tests/benchmarks/bench_scale.py [--repetitions 3] [--points 5] [--threads 1] [--write]

One size is varied at a time, around 4 layers of 256 channels, 4 sequences of 512 tokens, in float32 on a random Llama
with 4 heads of a quarter of the width. Times are of the processor, medians of interleaved repetitions, which other work
on the machine touches least; memory is what an analysis adds to the process at its peak, the weights not included. An
exponent is the least-squares slope of the logarithms. Processes are launched by torch's launcher on the packaged demo;
theirs is the time of all of them together, imports included, and the memory of the largest of them. `--write` replaces
the block of docs/scaling.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from process import exponent, library_versions, processor, replace_block, timed
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

import sinkscope

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
AROUND = {"layers": 4, "width": 256, "tokens": 512, "sequences": 4}
VARIED = {
    "layers": (2, 4, 8, 16),
    "width": (128, 256, 512, 1024),
    "tokens": (256, 512, 1024, 2048, 4096),
    "sequences": (2, 4, 8, 16, 32),
}
Point = tuple[float, float]  # seconds of the processor, bytes


def analysis_of(size: dict[str, int]) -> dict[str, float]:
    """One analysis of a model of a size."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=size["width"], intermediate_size=size["width"] * 11 // 4, num_attention_heads=4,
        num_key_value_heads=4, num_hidden_layers=size["layers"], max_position_embeddings=8192,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 2048, (size["sequences"], size["tokens"]))
    return timed(lambda: sinkscope.analyze(model, input_ids=ids))


def launched(count: int) -> Point:
    """Processor seconds of so many processes that share an analysis of the demo, and bytes of the largest of them."""
    with TemporaryDirectory() as out:
        verb = ["sinkscope", "analyze", "demo", "--sequences", "16", "--tokens", "240", "--out", f"{out}/run"]
        words = ["torch.distributed.run", "--nproc-per-node", str(count), "-m", *verb] if count > 1 else verb
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        started = subprocess.Popen(
            [sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        _, status, used = os.wait4(started.pid, 0)  # of the process and of all that it waited for
        started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise RuntimeError(f"{count} processes: exit code {started.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0


def measured(repetitions: int, points: int) -> dict[str, dict[int, Point]]:
    """By size and value the medians, for the first so many values of each size."""
    samples: dict[tuple[str, int], list[Point]] = defaultdict(list)
    for _ in range(repetitions):
        for name, values in VARIED.items():
            for value in values[:points]:
                row = analysis_of({**AROUND, name: value})
                samples[name, value].append((row["processor"], row["bytes"]))
                print(name, value, json.dumps(row), file=sys.stderr, flush=True)
    medians: dict[str, dict[int, Point]] = defaultdict(dict)
    for (name, value), points in samples.items():
        medians[name][value] = middle(points)
    return medians


def middle(points: list[Point]) -> Point:
    """The medians of both."""
    return statistics.median(point[0] for point in points), statistics.median(point[1] for point in points)


def table(medians: dict[str, dict[int, Point]], processes: dict[int, Point]) -> str:
    """The results as a markdown table."""
    lines = ["| varied | processor seconds | grows as | MiB added | grows as |", "|---|---|---|---|---|"]
    for name, points in medians.items():
        values = ", ".join(map(str, points))
        seconds = ", ".join(f"{point[0]:.2f}" for point in points.values())
        mebibytes = ", ".join(f"{point[1] / 2**20:.0f}" for point in points.values())
        slopes = [exponent([(value, point[of]) for value, point in points.items()]) for of in (0, 1)]
        fits = [f"{name}^{slope:.2f}" for slope in slopes if slope is not None]
        lines.append(f"| {name}: {values} | {seconds} | {fits[0]} | {mebibytes} | {fits[1]} |")
    if processes:
        seconds = ", ".join(f"{point[0]:.1f}" for point in processes.values())
        mebibytes = ", ".join(f"{point[1] / 2**20:.0f}" for point in processes.values())
        fit = exponent([(count, point[0]) for count, point in processes.items()])
        grows = "" if fit is None else f"processes^{fit:.2f}"
        name = f"processes: {', '.join(map(str, processes))}"
        lines.append(f"| {name} | {seconds} together | {grows} | {mebibytes} in the largest, imports included | |")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--points", type=int, default=5, help="values of each size, the smallest ones")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--launches", type=int, default=3, help="repetitions of each number of processes")
    parser.add_argument("--write", action="store_true", help="replace the block of docs/scaling.md")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    logging.set_verbosity_error()
    analysis_of({**AROUND, "tokens": 64})
    medians = measured(given.repetitions, given.points)
    processes = {count: middle([launched(count) for _ in range(given.launches)]) for count in given.processes}
    launches = f", of processes of {given.launches}" if processes else ""
    block = (
        f"On {given.threads} thread{'s' if given.threads > 1 else ''} of {processor()}, {library_versions()}; "
        f"medians of {given.repetitions}{launches}.\n\n{table(medians, processes)}"
    )
    print(block)
    if given.write:
        PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), block, "scale"), encoding="utf-8")


if __name__ == "__main__":
    main()
