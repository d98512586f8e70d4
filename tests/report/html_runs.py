"""Runs of every kind whose names, paths, tokens and columns are markup that a page must show as text."""

import functools
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
from synthetic import Shape, synthetic
from synthetic_reproduction import reproduced
from synthetic_track import synthetic_track
from test_ablation import EVERY
from test_ablation import run as ablation
from test_evaluation import perplexity_tables
from test_evaluation import run as evaluation
from test_quantization import run as quantization

from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.report import style
from sinkscope.report.html.document import IN_WORDS, document
from sinkscope.report.render import entries, figures, vectors
from sinkscope.tables.run_folder import Run

EVIL = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 1'>\"&amp;\u202e"
SHAPE = Shape(3, 2, 1, tokens=12, sequences=2)
VOID = {"meta", "img", "br", "hr", "input", "link"}


def _poisoned(run: Run) -> Run:
    """The run with a token, a column, a table and a setting that are markup."""
    tables = {**run.tables, EVIL: pd.DataFrame({EVIL: [EVIL, None], "number": [float("inf"), float("nan")]})}
    norms = run["positions"]
    tables["positions"] = norms.assign(grad_norm=norms["grad_norm"].where(norms["site"] != "final_in"))
    for name in ("sinks", "massive"):
        tables[name] = tables[name].assign(token=EVIL)
    return Run({**run.info, "settings": {**run.info["settings"], EVIL: EVIL}, "tables": list(tables)}, tables)


def _made() -> dict[str, Run]:
    analysis = _poisoned(synthetic(SHAPE, name=EVIL))
    other = synthetic(replace(SHAPE, seed=1))
    return {
        "ablation": ablation(EVERY, name=EVIL),
        "analysis": analysis,
        "comparison": compare_runs([synthetic(SHAPE), other], ["a", EVIL], draws=100),
        "evaluation": evaluation(perplexity_tables(), name=EVIL),
        "quantization": quantization([EVIL], ["none", "w8a8", "nf4"]),
        "reproduction": reproduced(name=EVIL, stages=3),
        "track": synthetic_track(SHAPE, name=EVIL),
    }


RUNS = _made()


def page(run: Run) -> str:
    """The file of one of `RUNS`, made once, with no drawing in its pictures."""
    (kind,) = [name for name, one in RUNS.items() if one is run]
    return _page(kind)


@functools.cache
def _page(kind: str) -> str:
    return made(RUNS[kind])


def made(run: Run) -> str:
    """The file of a run, with no drawing in its pictures."""
    return document(run, [(entry, "<svg></svg>") for entry in entries(run) if entry.name not in IN_WORDS])


def whole(run: Run) -> str:
    """The file as it is written."""
    drawn = figures(run)
    with style.drawing():
        pictures = [(entry, vectors(entry, drawn[entry.name])) for entry in entries(run) if entry.name not in IN_WORDS]
    return document(run, pictures)


class Outline(HTMLParser):
    """Tags with their attributes, every element closed as it was opened, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.islands: dict[str, str] = {}
        self._island: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self._island = dict(attributes).get("id")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            if self._island is not None:
                self.islands[self._island] = self.islands.get(self._island, "") + data
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))
