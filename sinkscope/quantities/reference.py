"""The quantities as documentation, printed from their rows so that the two cannot disagree.

    python -m sinkscope.quantities.reference docs/quantities.md docs/comparison.md docs/tracking.md

writes every block anew that stands between `<!-- quantities: NAME -->` and `<!-- quantities: end -->` in these files.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sinkscope.quantities import rows
from sinkscope.quantities.quantity import Quantity

_BLOCK = re.compile(r"(<!-- quantities: ([a-z ]+) -->\n).*?(<!-- quantities: end -->\n)", re.DOTALL)
_EPSILON = 0.3  # the default of the setting `sink_epsilon`


def headline_table() -> str:
    """The headline numbers, those that share a meaning in one line."""
    lines: list[tuple[list[str], str]] = []
    for row in rows.in_headline():
        if row.meaning:
            lines.append(([], _meaning(row)))
        lines[-1][0].extend(f"`{name}`" for name in rows.headline_names(row))
    return markdown_table(("number", "meaning"), [(", ".join(names), meaning) for names, meaning in lines])


def metrics_table() -> str:
    """The metrics of a comparison, in its order, and what is done with each."""
    cells = [
        (
            f"`{row.name}`",
            row.title,
            "-" if row.over_layers is None else "yes",
            "-" if not row.judged else "yes" if row.margin is None else f"yes, margin {row.margin}",
        )
        for row in rows.compared()
    ]
    return markdown_table(("metric", "what it is", "interval over sequences", "ratio judged"), cells)


def compared_beside_the_headline() -> str:
    """What a comparison has that the headline has not, a point each."""
    return "".join(f"- `{row.name}`: {_meaning(row)}.\n" for row in rows.compared() if not row.headline)


def phenomena_table() -> str:
    """When each phenomenon is there."""
    cells = []
    for row, threshold in rows.with_threshold():
        sign = ">" if threshold.exceeds else ">="
        value = f"{_EPSILON:g} (the setting `sink_epsilon`)" if threshold.value is None else f"{threshold.value:g}"
        cells.append((threshold.phenomenon, f"`{row.name}` {sign} {value}", threshold.meaning))
    return markdown_table(("phenomenon", "it is there where", "meaning"), cells)


def monitored_list() -> str:
    """What a monitor logs, a point each."""
    return "".join(f"- `{row.name}`: {row.title}\n" for row in rows.monitored())


BLOCKS: dict[str, Callable[[], str]] = {
    "headline": headline_table,
    "metrics": metrics_table,
    "compared beside the headline": compared_beside_the_headline,
    "phenomena": phenomena_table,
    "monitored": monitored_list,
}


def renewed(page: str) -> str:
    """A page with its blocks as the rows have them."""
    return _BLOCK.sub(lambda block: f"{block[1]}{BLOCKS[block[2]]()}{block[3]}", page)


def markdown_table(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> str:
    """A table in markdown."""
    cells = [header, ("---",) * len(header), *lines]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in cells)


def _meaning(row: Quantity) -> str:
    return f"{row.meaning} ({row.equation})" if row.equation else row.meaning


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
