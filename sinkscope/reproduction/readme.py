"""The README of a report: verdicts, every test with its interval, what differs from the paper, and the commands."""

import re
from typing import Any

from sinkscope.quantities.reference import markdown_table
from sinkscope.report.reproduction.words import (
    bound_in_words,
    counted_claims,
    counted_tests,
    found_in_words,
    made_in_words,
    trio_in_words,
    why,
)
from sinkscope.tables.run_folder import Run

_TOKEN = re.compile(r"<[^<>\s]+>")  # <bos>, which markdown would take for a tag


def readme(run: Run) -> str:
    """The page in markdown."""
    claims: Any = run["claims"].to_dict("records")
    tests: Any = run["tests"].to_dict("records")
    parts = [
        f"# {trio_in_words(run)}",
        counted_claims(run),
        markdown_table(
            ("claim", "verdict", "tests reproduced"),
            [(f"{row['claim']}. {row['says']}", row["verdict"], f"{row['reproduced']} of {row['tests']}")
             for row in claims],
        ),
        "The same with its figures: [report.pdf](report.pdf), [report.html](report.html). Every table lies beside as "
        "parquet and CSV, and `run.json` says what was asked for.",
        "## Every test",
        "The rule, the bounds and what was changed after a run stand in docs/claims.md of the source; 95 % intervals. "
        f"{counted_tests(run)}",
        markdown_table(
            ("test", "claimed", "number (interval)", "claimed side", "verdict", "what is missing", "paper"),
            [(f"`{row['test']}`", row["says"], found_in_words(row), bound_in_words(row), row["verdict"], why(row),
              row["paper"] or "-") for row in tests],
        ),
        "## What differs from the paper's setting",
        _TOKEN.sub(r"`\g<0>`", "\n".join(f"- {note}" for note in run.info["notes"])),
        "## How it was made",
        f"`{run.info.get('command', '')}`" if run.info.get("command") else "By a program.",
        f"{made_in_words(run)} Stage by stage:",
        "```sh\n" + "\n".join(str(row) for row in run["stages"]["command"]) + "\n```",
    ]  # fmt: skip
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
