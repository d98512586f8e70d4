"""Analyzes a model that would not fit, layer by layer from disk, and writes down what that took.

    python tests/benchmarks/random_model.py /big/3b --preset 3b
    python tests/benchmarks/bench_big.py /big/3b --tokens 512 --limit-gib 8 --log reports/streamed-3b.md

The analysis is `sinkscope analyze FOLDER --stream`, as typed, in a process of its own; everything that it loads as code
is imported first, and its memory is measured above that. The log is a markdown file: command, machine, versions, peak,
seconds, headline numbers. The exit code is 1 where the peak exceeded the limit.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from process import library_versions, measured, processor
from rich.console import Console

_HEADLINE = (
    "loss", "sink_heads", "heads_total", "residual_t0_over_early", "abs_max", "massive_count", "gradient_sink_median",
    "mass_slope", "bounds_checked", "bound_violations",
)  # fmt: skip
_CHILD = "--child"


def child(arguments: list[str]) -> int:
    """Runs the command line in this process, after its imports, and prints what it cost as its last line."""
    import sinkscope.analysis.run
    import sinkscope.report.kinds
    import sinkscope.report.render
    from sinkscope.cli import main as command

    sinkscope.analyze("demo", sequences=1, tokens=128, device="cpu").figures()
    with measured() as cost:
        code = command(arguments)
    print(json.dumps(asdict(cost)))
    return code


def run(arguments: list[str]) -> dict[str, Any]:
    """The command in a fresh process; returns its cost.

    Raises:
        SystemExit: if it failed, with its last words.
    """
    command = [sys.executable, str(Path(__file__).resolve()), _CHILD, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"sinkscope {' '.join(arguments)} ended with {done.returncode}")
    cost: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return cost


def log(title: str, arguments: list[str], cost: dict[str, Any], info: dict[str, Any], limit_gib: float) -> str:
    """The markdown log."""
    model, data = info["model"], info["data"]
    shape = f"{model['layers']} layers, hidden size {model['hidden_size']}, {model['heads']} heads"
    held = cost["bytes"] / 2**30
    verdict = "inside" if held <= limit_gib else "above"
    rows = [
        ("model", f"{model['parameters']:,} random parameters, {shape}, {info['model']['dtype']}"),
        ("analyzed", f"{data['sequences']} sequences of {data['tokens']} tokens, forward and backward"),
        ("peak memory above the imports", f"{held:.2f} GiB, {verdict} {limit_gib:g} GiB"),
        ("of which not file pages", f"{cost['anonymous'] / 2**30:.2f} GiB (sampled)"),
        ("seconds", f"{cost['seconds']:.0f}, report included"),
        ("machine", f"{len(os.sched_getaffinity(0))} cores of {processor()}, {platform.system()}"),
        ("versions", f"Python {platform.python_version()}, {library_versions()}, sinkscope {info['sinkscope']}"),
        ("date", info["created"]),
    ]
    headline = [(name, info["headline"][name]) for name in _HEADLINE if name in info["headline"]]
    shown = [(name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in headline]
    return "\n".join(
        [
            f"# {title}",
            "",
            "```sh",
            f"sinkscope {' '.join(arguments)}",
            "```",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
            "| headline | value |",
            "|---|---:|",
            *(f"| `{name}` | {value} |" for name, value in shown),
            "",
            "The weights are random: the numbers above show that the analysis ran through, and that every bound holds.",
            "",
        ]
    )


def main() -> None:
    """Runs, measures, and writes the log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a model written by random_model.py")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--limit-gib", type=float, default=8.0)
    parser.add_argument("--spill", type=Path, help="a folder for the states between layers")
    parser.add_argument("--resident", action="store_true", help="without --stream, to compare")
    parser.add_argument("--title", help="of the log")
    parser.add_argument("--log", type=Path, help="where the log is written; it is printed in any case")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "run"
        how = [] if options.resident else ["--stream"]
        how += ["--spill", str(options.spill)] if options.spill else []
        size = ["--sequences", str(options.sequences), "--tokens", str(options.tokens)]
        arguments = ["analyze", str(options.folder), *how, *size, "--device", "cpu", "--out", str(out)]
        console.print(f"sinkscope {' '.join(arguments)}")
        cost = run(arguments)
        info = json.loads((out / "run.json").read_text(encoding="utf-8"))
    shown = ["analyze", options.folder.name, *how, *size, "--device", "cpu"]
    title = options.title or f"{options.folder.name}, streamed"
    text = log(title, shown, cost, info, options.limit_gib)
    print(text)
    if options.log is not None:
        options.log.parent.mkdir(parents=True, exist_ok=True)
        options.log.write_text(text, encoding="utf-8")
    if cost["bytes"] > options.limit_gib * 2**30:
        raise SystemExit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == [_CHILD]:
        sys.exit(child(sys.argv[2:]))
    main()
