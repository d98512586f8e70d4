"""Holds runs that were made anew against the numbers that are committed here.

    python reports/check_numbers.py COMMITTED NEW

COMMITTED is a run.json, or a folder of them; NEW the run folder, or the folder of run folders of the same names. First
the text must be the same, by the hash of its windows: the standard library that it comes from changes with Python's
version. Then every number under `headline` must agree to one part in ten thousand. Exits with 1 where something
differs.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

TOLERANCE = 1e-4


def differences(committed: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two run.json files, a line each; empty where they agree."""
    data, other = committed["data"], new["data"]
    if data["sha256"] != other["sha256"]:
        python = committed["versions"]["python"]
        return [f"the text is another one: hash {other['sha256']}, not {data['sha256']}, which is Python {python}'s"]
    return list(_compare("headline", committed["headline"], new["headline"]))


def _compare(name: str, a: Any, b: Any) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [line for key in a.keys() | b.keys() for line in _compare(f"{name}.{key}", a.get(key), b.get(key))]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b, strict=True)) for line in _compare(f"{name}[{i}]", x, y)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b))
    same = math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6) if numbers else a == b
    return [] if same else [f"{name}: {b}, not {a}"]


def _pairs(committed: Path, new: Path) -> list[tuple[Path, Path]]:
    if committed.is_file():
        return [(committed, new / "run.json")]
    return [(path, new / path.stem / "run.json") for path in sorted(committed.glob("*.json"))]


def main() -> int:
    """Prints a line for each run, and what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("committed", type=Path)
    parser.add_argument("new", type=Path)
    given = parser.parse_args()
    pairs = _pairs(given.committed, given.new)
    failed = not pairs
    for committed, new in pairs:
        found = (
            differences(json.loads(committed.read_text()), json.loads(new.read_text()))
            if new.is_file()
            else [f"there is no {new}"]
        )
        failed = failed or bool(found)
        print(f"{committed}: {'differs' if found else 'the same text, the same numbers'}")
        for line in found:
            print(f"  {line}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
