"""The README of a report: verdicts, every test with its interval, what differs from the paper, and the commands."""

import math
from typing import Any

from sinkscope.quantities.reference import markdown_table
from sinkscope.report.reproduction.words import counted_claims, found_in_words, trio_in_words
from sinkscope.tables.run_folder import Run


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
        "## Every test",
        "The rule stands in docs/claims.md of the source; 95 % intervals.",
        markdown_table(
            ("test", "claimed", "number (interval)", "verdict", "seeds needed", "paper"),
            [(f"`{row['test']}`", row["says"], found_in_words(row), row["verdict"] + _because(row),
              "" if math.isnan(row["seeds_needed"]) else f"{row['seeds_needed']:.0f}", row["paper"] or "-")
             for row in tests],
        ),
        "## What differs from the paper's setting",
        "\n".join(f"- {note}" for note in run.info["notes"]),
        "## How it was made",
        f"`{run.info.get('command', '')}`" if run.info.get("command") else "By a program.",
        f"sinkscope {run.info['sinkscope']}; "
        + ", ".join(f"{name} {version}" for name, version in run.info["versions"].items())
        + ". Stage by stage:",
        "```sh\n" + "\n".join(str(row) for row in run["stages"]["command"]) + "\n```",
    ]  # fmt: skip
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _because(row: dict[str, Any]) -> str:
    return f" ({row['reason']})" if row["reason"] else ""
