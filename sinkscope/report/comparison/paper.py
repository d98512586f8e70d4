"""The runs beside the models that the paper trained: the same quantities, the paper's own ratios."""

from sinkscope.quantities.rows import quantity
from sinkscope.report import style
from sinkscope.report.comparison.matrix import Cell, Words, cell, matrix
from sinkscope.report.comparison.runs import rows_of, sides_of
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.published import PAPER, TRAINED
from sinkscope.tables.run_folder import Run

_MODELS = ("0.3B baseline", "0.3B V-scale", "0.3B backward-only")
_FIRST = 0.14
_FEW, _FOUR = 2, 4  # runs beside the three columns of the paper


def draw(run: Run) -> Page:
    """A table: quantities that the paper reports, the runs, and the paper's three 0.3B models."""
    page = Page()
    rows, narrow = rows_of(run), len(sides_of(run)) > _FEW
    names = [name for name in TRAINED[_MODELS[0]] if run.backward or not quantity(name).backward]
    table = []
    for name in names:
        cells = [cell(rows[name, side.name], narrow=narrow, judged=False) for side in sides_of(run)]
        table.append((quantity(name).title, [*cells, *(_published(model, name) for model in _MODELS)]))
    header = [side.label(1000.0) for side in sides_of(run)]
    published = [f"{'paper: ' if len(sides_of(run)) <= _FOUR else ''}{model.split()[1]}" for model in _MODELS]
    matrix(page, [*header, *published], table, top=0.905, first=_FIRST, lines=3)
    return page


def _published(model: str, metric: str) -> Cell:
    value, baseline = TRAINED[model].get(metric), TRAINED[_MODELS[0]][metric]
    if value is None:
        return (Words("-", colour=style.GREY),)
    words = Words(f"{value:,}", bold=True)
    if model == _MODELS[0] or not quantity(metric).judged:
        return (words,)
    return words, Words(f"x {value / baseline:.3g}")


ENTRY = Entry(
    "paper",
    "Beside the paper's models",
    draw,
    f"Last three columns: the 0.3B models of {PAPER}, trained from scratch on C4 (step 20000, validation loss, one "
    "seed, no intervals); its ratios are to its own baseline. Losses and absolute norms compare only between models "
    "of like size, text and tokenizer; ratios say more. A cell: the value, with its 95 % interval where "
    "there is room, and the ratio to the reference with its interval.",
    words=True,
)
