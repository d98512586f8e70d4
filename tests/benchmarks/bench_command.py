r"""What `sinkscope analyze` costs, whole and by stage, beside bare passes, the naive way, nnsight and TransformerLens.

    python tests/benchmarks/bench_command.py [--tokens 512] [--sequences 4] [--repetitions 5] [--threads 1] [--write]
    python tests/benchmarks/bench_command.py --model FOLDER --tokens 512 --sequences 2 --methods forward scope-forward

Passes are interleaved, A B C A B C, in one process on one model, so that a machine that gets busy touches all methods
alike; stages and the whole command are processes of their own, and so are peers, beside bare passes of their own.
Medians are shown of seconds of the clock and of the processor: on a machine with other work the latter alone says
something. Ratios are to the bare passes of the same kind: a forward pass, or one and a backward pass to the embedding's
output. Peers run in virtual environments that this script makes below `--environments` with pip and the present torch;
one that pip cannot make, or that cannot load the model, is reported with the reason, and the rest goes on. No time is
asserted: it is a table to read. `--write` puts it between the markers of docs/benchmarks.md.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import venv
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from process import library_versions, processor, replace_block
from rich.console import Console

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
COMMAND = "whole command"
LABELS = {
    "forward": "bare forward pass",
    "scope-forward": "passes of `analyze --no-backward`",
    "nnsight": "nnsight: sink rate and norms",
    "transformer-lens": "TransformerLens: sink rate and norms",
    "input-gradients": "bare forward and backward to the input",
    "scope": "passes of `analyze`",
    "naive": "naive: eager maps, `retain_grad` on every site",
    "stages": "`analyze` with its report, by stage",
    COMMAND: "`sinkscope analyze --out`, from the shell",
}
BASE = {"scope-forward": "forward", "nnsight": "forward", "transformer-lens": "forward",
        "scope": "input-gradients", "naive": "input-gradients"}  # fmt: skip
PEERS = {"nnsight": "peer_nnsight.py", "transformer-lens": "peer_transformer_lens.py"}
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
Row = dict[str, float]


def peer_environment(name: str, folder: Path) -> Path:
    """The interpreter of a virtual environment with a peer and the present torch, made where there is none.

    Raises:
        RuntimeError: if pip cannot make it.
    """
    python = folder / name / "bin" / "python"
    done = folder / name / "made"
    if not done.exists():
        venv.create(folder / name, with_pip=True, clear=True)
        constraints = folder / f"{name}.txt"
        constraints.write_text(f"torch=={torch.__version__}\n")  # with its build: of a CPU, no gigabytes for a GPU
        command = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints), name]
        if torch.__version__.endswith("+cpu"):
            command += ["--extra-index-url", CPU_BUILDS]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"pip cannot install it: {last_line(made.stderr)}")
        done.touch()
    return python


def measure(methods: list[str], given: argparse.Namespace, peers: dict[str, Path]) -> dict[str, list[Row]]:
    """Measurements in a process of their own, by method or stage.

    Raises:
        RuntimeError: if it fails.
    """
    sizes = [str(given.sequences), str(given.tokens)]
    method = methods[0]
    if method == COMMAND:
        with TemporaryDirectory() as out:
            words = ["--sequences", sizes[0], "--tokens", sizes[1], "--dtype", "float32", "--out", f"{out}/run"]
            command = [sys.executable, "-m", "sinkscope", "analyze", given.model, *words]
            return {"": [run(command, given.threads)[1]]}
    how = [str(given.threads), str(given.repetitions)]
    if method in PEERS:
        command = [str(peers[method]), str(HERE / PEERS[method]), given.model, *sizes, *how]
    else:
        script = str(HERE / "command_workloads.py")
        options = ["--threads", how[0], "--repetitions", how[1]]
        command = [sys.executable, script, given.model, *sizes, *methods, *options]
    result: dict[str, list[Row]] = json.loads(run(command, given.threads)[0].splitlines()[-1])
    return result


def run(command: list[str], threads: int) -> tuple[str, Row]:
    """What a command prints, and what it took."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(last_line(done.stderr))
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, {"seconds": seconds, "processor": used}


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


def measured(given: argparse.Namespace) -> tuple[dict[str, dict[str, Row]], dict[str, str]]:
    """Medians by method and stage, and why a method has none."""
    console = Console(stderr=True)
    failed: dict[str, str] = {}
    peers: dict[str, Path] = {}
    medians: dict[str, dict[str, Row]] = {}

    def take(methods: list[str], rounds: int) -> None:
        samples: dict[str, list[Row]] = defaultdict(list)
        try:
            for name in methods:
                if name in PEERS:
                    peers[name] = peer_environment(name, given.environments)
            for number in range(rounds):
                for stage, rows in measure(methods, given, peers).items():
                    samples[stage] += rows
                console.print(f"{', '.join(methods)}: {number + 1} of {rounds}")
        except RuntimeError as error:
            failed.update(dict.fromkeys(methods, str(error)))
            return
        middle = {
            stage: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            for stage, rows in samples.items()
        }
        for method in methods:
            medians[method] = {"": middle[method]} if method in middle else middle

    together = [method for method in given.methods if method not in (*PEERS, "stages", COMMAND)]
    if together:
        take(together, 1)
    for method in given.methods:
        if method not in together:
            take([method], 1 if method in PEERS else given.repetitions)
    return medians, failed


def median(rows: list[Row]) -> Row:
    """The median of each number."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def table(medians: dict[str, dict[str, Row]], failed: dict[str, str]) -> str:
    """The results as a markdown table; ratios to the bare passes stand in brackets."""
    lines = ["| | processor | clock | memory added |", "|---|---:|---:|---:|"]
    for method, label in LABELS.items():
        own = medians.get(method, {})
        base = own.get("forward") or medians.get(BASE.get(method, ""), {}).get("")
        if method in failed:
            lines.append(f"| {label} | not measured: {failed[method].replace('|', ' ')} | | |")
        for stage, row in own.items():
            if stage == "forward":  # a peer's own bare passes
                continue
            cells = [seconds(row, base, "processor"), seconds(row, base, "seconds"), memory(row, base)]
            lines.append(f"| {f'{label}: {stage}' if stage else label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def seconds(row: Row, base: Row | None, key: str) -> str:
    """A cell of seconds."""
    return f"{row[key]:.2f} s" + (f" ({row[key] / base[key]:.2f}x)" if base else "")


def memory(row: Row, base: Row | None) -> str:
    """A cell of bytes; empty where a method tells none."""
    if "bytes" not in row:
        return ""
    return f"{row['bytes'] / 2**20:.0f} MiB" + (f" ({row['bytes'] / base['bytes']:.2f}x)" if base else "")


def describe(given: argparse.Namespace, name: str) -> str:
    """What was measured, on what, and by which command."""
    git = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return (
        f"{name}: {given.sequences} sequences of {given.tokens} tokens, one per pass, float32, "
        f"{given.threads} thread"
        f"{'s' if given.threads > 1 else ''} of {processor()}; {library_versions()}, "
        f"Python {platform.python_version()}, commit {commit or 'unknown'}. Medians of "
        f"{given.repetitions} repetitions; in brackets the ratio to the bare passes of the same kind."
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a model with Llama's module names; by default a small random one")
    parser.add_argument("--name", default="", help="what the table calls the model")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "sinkscope" / "peers")
    parser.add_argument("--write", metavar="BLOCK", help="replace this block of docs/benchmarks.md")
    given: Any = parser.parse_args()
    with TemporaryDirectory() as folder:
        name = given.name or "A random Llama of 4 layers (256 wide, 4 heads of 64, MLP 704, vocabulary 2048) with sinks"
        if given.model is None:
            given.model = f"{folder}/model"
            script = str(HERE / "random_model.py")
            subprocess.run([sys.executable, script, given.model, "--sinks"], capture_output=True, check=True)
        block = f"{describe(given, name)}\n\n{table(*measured(given))}"
    print(block)
    if given.write:
        PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), block, given.write), encoding="utf-8")


if __name__ == "__main__":
    main()
