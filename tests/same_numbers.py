"""Whether two checkouts of sinkscope measure the same: every table and every value of run.json, bit for bit.

A refactoring moves code and changes no number. This script runs the verbs and the library on the packaged models and on
tiny random models of every family, once with the package of each checkout, and compares what came out.

    git worktree add ../before main~20
    python tests/same_numbers.py run ../before /tmp/before      # about ten minutes each
    python tests/same_numbers.py run . /tmp/after
    python tests/same_numbers.py compare /tmp/before /tmp/after

`run` goes through the command line and through `sinkscope.analyze`, the two faces that must not change. One thread and
no compilation, so that the same code gives the same bits. Seconds, memory, times of day, versions and command lines are
not compared. A key that only one side's run.json has is listed, and does not count as a difference.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

TESTS = Path(__file__).parent
SMALL = ["--sequences", "4", "--tokens", "96"]
VOLATILE = {"seconds", "peak_memory_bytes", "created", "command", "libraries", "sinkscope", "machine", "platform",
            "tokens_per_second", "device_name", "path", "out"}  # fmt: skip
# (folder that is written, command line); later ones may read what earlier ones wrote.
COMMANDS: list[tuple[str, list[str]]] = [
    ("analyze", ["analyze", "demo", *SMALL]),
    ("analyze-vscale", ["analyze", "demo-vscale", *SMALL]),
    ("analyze-stream", ["analyze", "demo", "--stream", "--batch-size", "2", *SMALL]),
    ("analyze-layers", ["analyze", "demo-vscale", "--gradient-checkpointing", *SMALL]),
    ("analyze-columns", ["analyze", "demo", "--columns", "all", "--bos", "always", *SMALL]),
    ("analyze-apart", ["analyze", "demo", "--isolate-documents", "--data", "TEXT", *SMALL]),
    ("analyze-forward", ["analyze", "demo", "--no-backward", "--positions", "40", "--early", "15", *SMALL]),
    ("analyze-bf16", ["analyze", "demo", "--dtype", "bfloat16", "--batch-size", "3", *SMALL]),
    ("analyze-nf4", ["analyze", "demo", "--quantize", "nf4", *SMALL]),
    ("quantize", ["quantize", "demo", "demo-vscale", "--rank-by", "w8a8-static", "--rank-limit", "6", *SMALL]),
    ("evaluate", ["evaluate", "demo", "--documents", "4", "--lengths", "240", "--depths", "2", "--seeds", "2"]),
    ("pretrain", ["pretrain", "RECIPE"]),
    ("finetune", ["finetune", "demo", "--vscale", "--steps", "4", "--tokens", "64", "--valid-sequences", "4"]),
    ("track", ["track", "OUT/pretrain", "--sequences", "4", "--tokens", "16", "--sink-window", "8"]),
    ("compare", ["compare", "OUT/analyze", "OUT/analyze-vscale"]),
    ("compare-layers", ["compare", "demo", "demo-vscale", "--sequences", "3", "--tokens", "64"]),
]
RECIPE = """
name = "small"
precision = "float32"
monitor = 4
[model]
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 16
[tokenizer]
vocab_size = 300
[data]
source = "TEXT"
tokens = 32
holdout = 4
valid_sequences = 2
[optimizer]
lr = 1e-2
batch_sequences = 4
[schedule]
steps = 24
warmup = 2
[checkpoint]
every = 8
[vscale]
variant = "learned"
"""
# What the second process of `run` does, with the package that it was given.
FAMILIES_SCRIPT = """
import sys
from pathlib import Path
import torch
import families
import sinkscope
out = Path(sys.argv[1])
for name in families.TINY:
    torch.manual_seed(1)
    ids = torch.randint(3, 250, (3, 40))
    model = families.tiny(name)
    settings = sinkscope.Settings(sink_window=8, early=7, positions=16)
    run = sinkscope.analyze(model, input_ids=ids, settings=settings, batch_size=2).run
    folder = out / f"tiny-{name}"
    folder.mkdir(parents=True)
    for table, frame in run.tables.items():
        frame.to_parquet(folder / f"{table}.parquet")
    import json
    (folder / "run.json").write_text(json.dumps(run.info, default=str))
    print(name, flush=True)
"""


def main() -> int:
    """Runs or compares, as asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    runner = verbs.add_parser("run")
    runner.add_argument("checkout", type=Path)
    runner.add_argument("out", type=Path)
    runner.add_argument("--only", nargs="*", help="these folders alone")
    comparer = verbs.add_parser("compare")
    comparer.add_argument("before", type=Path)
    comparer.add_argument("after", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "run":
        return run(arguments.checkout.resolve(), arguments.out.resolve(), arguments.only)
    return compare(arguments.before, arguments.after)


def run(checkout: Path, out: Path, only: list[str] | None) -> int:
    """Runs every workload with the package of one checkout."""
    out.mkdir(parents=True, exist_ok=True)
    text = Path(out / "text")
    text.mkdir(exist_ok=True)
    for number in range(12):  # the same text in any checkout, apart from the package that is under test
        line = f"Line {number} of a text that repeats itself, with a word that differs: {'abcdefghijkl'[number]}.\n"
        (text / f"{number:02}.txt").write_text(line * (9 + 3 * number))
    (out / "recipe.toml").write_text(RECIPE.replace("TEXT", str(text)))
    paths = os.pathsep.join(map(str, (checkout, TESTS)))
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "RANK": "0"}
    failed = 0
    for name, words in COMMANDS:
        if only and name not in only:
            continue
        places = {"TEXT": str(text), "RECIPE": str(out / "recipe.toml")}
        words = [places.get(word, word).replace("OUT/", f"{out}/") for word in words]
        command = [sys.executable, "-m", "sinkscope", *words, "--out", str(out / name)]
        failed += _launched(name, command, environment, out)
    if not only or "families" in only:
        failed += _launched("families", [sys.executable, "-c", FAMILIES_SCRIPT, str(out)], environment, out)
    return 1 if failed else 0


def _launched(name: str, command: list[str], environment: dict[str, str], out: Path) -> int:
    with (out / f"{name}.log").open("wb") as log:
        code = subprocess.run(command, env=environment, cwd=out, stdout=log, stderr=log, check=False).returncode
    print(f"{name}: {'ok' if code == 0 else f'exit {code}, see {name}.log'}", flush=True)
    return code


def compare(before: Path, after: Path) -> int:
    """Compares every run.json and every table below two folders; returns 1 where anything differs."""
    same = tables = values = 0
    differences: list[str] = []
    one_sided: set[str] = set()
    names = {path.relative_to(root) for root in (before, after) for path in root.rglob("*.parquet")}
    for name in sorted(names):
        old, new = before / name, after / name
        if not (old.is_file() and new.is_file()):
            differences.append(f"{name}: only in {before if old.is_file() else after}")
            continue
        left, right = (pd.read_parquet(path).drop(columns=list(VOLATILE), errors="ignore") for path in (old, new))
        tables += 1
        if left.equals(right) and list(left.dtypes) == list(right.dtypes):
            same += 1
        else:
            differences.append(f"{name}: {_first_difference(left, right)}")
    for name in sorted({path.relative_to(root) for root in (before, after) for path in root.rglob("run.json")}):
        if not ((before / name).is_file() and (after / name).is_file()):
            differences.append(f"{name}: in one of the two only")
            continue
        left, right = (_flat(json.loads((root / name).read_text()), str(root.resolve())) for root in (before, after))
        one_sided |= {f"{'before' if key in left else 'after'}: {key}" for key in left.keys() ^ right.keys()}
        values += len(left.keys() & right.keys())
        differences += [
            f"{name}: {key} is {left[key]!r} before and {right[key]!r} after"
            for key in sorted(left.keys() & right.keys())
            if left[key] != right[key] and not (left[key] != left[key] and right[key] != right[key])
        ]
    print(f"{same} of {tables} tables are bit-identical; {values} values of run.json were compared")
    print(f"keys of run.json on one side only: {', '.join(sorted(one_sided)) or 'none'}")
    print("\n".join(differences) or "no difference")
    return 1 if differences else 0


def _flat(value: Any, root: str, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key, without those that differ from run to run; the compared folder's own path is cut out."""
    if isinstance(value, dict):
        leaves: dict[str, Any] = {}
        for key, inner in value.items():
            if key not in VOLATILE:
                leaves |= _flat(inner, root, f"{prefix}.{key}" if prefix else key)
        return leaves
    if isinstance(value, list):
        return {prefix: [_flat(item, root) for item in value]}
    return {prefix: value.replace(root, "OUT") if isinstance(value, str) else value}


def _first_difference(left: pd.DataFrame, right: pd.DataFrame) -> str:
    if list(left.columns) != list(right.columns):
        return f"columns {list(left.columns)} and {list(right.columns)}"
    if len(left) != len(right):
        return f"{len(left)} and {len(right)} rows"
    for column in left.columns:
        if not left[column].equals(right[column]):
            pairs = zip(left[column], right[column], strict=True)
            rows = left.index[[a != b and not (a != a and b != b) for a, b in pairs]]
            row = rows[0] if len(rows) else 0
            return f"{column}, {len(rows)} rows; row {row}: {left[column][row]!r} and {right[column][row]!r}"
    return "dtypes"


if __name__ == "__main__":
    sys.exit(main())
