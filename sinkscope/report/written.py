"""The headline of a run for a text of one's own: findings and tables in Markdown, the tables in LaTeX.

The words are the terminal's (`sinkscope.report.kinds`), escaped for their new place. LaTeX tables are plain `tabular`s,
which need no package; pandas escapes them.
"""

import io
import re
from collections.abc import Iterator

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sinkscope.report.html.said import parts_of
from sinkscope.report.kinds import kind_of
from sinkscope.tables.run_folder import Run

_WIDE = 400  # columns: nothing is left out or broken for want of width
_MARKS = re.compile(r"([\\`*_\[\]<>|$~&])")  # what Markdown, its tables and its mathematics give a meaning
_OPENINGS = re.compile(r"^(\s*)([#+=-]|\d+[.)])")
_LETTERS = {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}"}  # [ may follow a line break


def markdown(run: Run) -> str:
    """Findings and headline tables in Markdown."""
    blocks = [f"# {_escaped(kind_of(run).subtitle(run))}"]
    for part in _parts(run):
        if isinstance(part, Table):
            blocks.append(_markdown_table(_cells(part), _right(part)))
        elif part.startswith("- "):
            item = f"- {_escaped(part[2:])}"
            if blocks[-1].startswith("- "):
                blocks[-1] += f"\n{item}"
            else:
                blocks.append(item)
        else:
            blocks.append(_OPENINGS.sub(r"\1\\\2", _escaped(part)))
    return "\n\n".join(blocks) + "\n"


def latex(run: Run) -> str:
    """The headline tables in LaTeX, one `tabular` after the other."""
    tables = [_latex_table(_cells(part), _right(part)) for part in _parts(run) if isinstance(part, Table)]
    return f"% {kind_of(run).subtitle(run)}\n% sinkscope {run.info['sinkscope']}\n" + "\n".join(tables)


def _parts(run: Run) -> Iterator[str | Table]:
    """Lines and tables of the run's summary, in their order."""
    console = Console(file=io.StringIO(), width=_WIDE, color_system=None)
    for part in parts_of(kind_of(run).summary(run), console):
        if isinstance(part, Table):
            yield part
        else:
            yield " ".join((part.plain if isinstance(part, Text) else str(part)).split())


def _cells(table: Table) -> list[list[str]]:
    """All cells as text, the head first."""
    columns = [[_plain(column.header), *(_plain(cell) for cell in column.cells)] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(cell: object) -> str:
    return " ".join((cell if isinstance(cell, Text) else Text.from_markup(str(cell))).plain.split())


def _right(table: Table) -> list[bool]:
    """Which columns stand to the right, as numbers do."""
    return [column.justify == "right" for column in table.columns]


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", text)


def _markdown_table(rows: list[list[str]], right: list[bool]) -> str:
    head, *others = ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows]
    rule = "| " + " | ".join("---:" if side else "---" for side in right) + " |"
    return "\n".join([head, rule, *others])


def _latex_table(rows: list[list[str]], right: list[bool]) -> str:
    styler = pd.DataFrame(rows).style.hide(axis="index").hide(axis="columns")
    styler.format(lambda cell: re.sub(r"[<>|[]", lambda found: _LETTERS[found[0]], str(cell)), escape="latex")
    made = styler.to_latex(column_format="".join("r" if side else "l" for side in right))
    return str(made).replace(" \\\\\n", " \\\\\n\\hline\n", 1)
