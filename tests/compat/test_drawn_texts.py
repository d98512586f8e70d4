"""Texts are laid out as matplotlib lays them out, once; fonts in a PDF are cut down to what it draws with."""

import io
from collections.abc import Iterator

import matplotlib
import pytest
from fontTools.subset import Options
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from pypdf import PdfReader

from sinkscope.compat.drawn_texts import SHAPING, texts_kept

LOOKS: list[dict[str, object]] = [
    {}, {"rotation": 90}, {"rotation": 30, "rotation_mode": "anchor"}, {"ha": "right"}, {"ha": "center", "va": "top"},
    {"fontsize": 7}, {"weight": "bold"}, {"linespacing": 2.0}, {"multialignment": "right"}, {"wrap": True},
    {"fontsize": 7, "ha": "right", "va": "center", "rotation": 45}, {"parse_math": False},
]  # fmt: skip
WORDS = ("layer", "two\nlines of it", "$10^{-3}$")


def texts() -> Iterator[Text]:
    for dpi in (72, 150):
        page = Figure(dpi=dpi)
        FigureCanvasAgg(page)
        yield from (page.text(0.5, 0.5, word, **look) for look in LOOKS for word in WORDS)  # type: ignore[arg-type]


def boxes(drawn: list[Text]) -> list[tuple[float, ...]]:
    return [text.get_window_extent().bounds for text in drawn]


def test_a_text_is_where_matplotlib_puts_it() -> None:
    plain = boxes(list(texts()))
    with texts_kept():
        drawn = list(texts())
        assert boxes(drawn) == plain
        assert boxes(drawn) == plain  # now from what was kept
    assert len(set(plain)) > 2 * len(LOOKS)


def test_a_text_that_changes_is_laid_out_anew() -> None:
    with texts_kept():
        text = next(texts())
        narrow = text.get_window_extent().width
        text.set_text("a longer layer")
        wide = text.get_window_extent().width
        text.set_fontsize(30)
        assert narrow < wide < text.get_window_extent().width


def test_the_same_text_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out, laid_out = Text._get_layout, []

    def counting(self: Text, renderer: object) -> object:
        laid_out.append(self.get_text())
        return lay_out(self, renderer)

    monkeypatch.setattr(Text, "_get_layout", counting)
    with texts_kept():
        page = Figure()
        FigureCanvasAgg(page)
        for text in [page.text(0.1, 0.1, "layer"), page.text(0.9, 0.9, "layer")]:
            text.get_window_extent()
            text.get_window_extent()
    assert laid_out == ["layer"]


def test_nothing_stays_behind() -> None:
    before = Text._get_layout, Options._drop_tables_default
    with texts_kept(), texts_kept():
        assert Text._get_layout is not before[0]
        assert set(SHAPING) <= set(Options().drop_tables)
    assert (Text._get_layout, Options._drop_tables_default) == before


def test_a_pdf_says_the_same_in_a_smaller_file() -> None:
    def written() -> bytes:
        page, file = Figure(), io.BytesIO()
        page.text(0.1, 0.5, "AVAST fi 10\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT THREE}")
        with matplotlib.rc_context({"pdf.fonttype": 42}):
            page.savefig(file, format="pdf", metadata={"CreationDate": None})
        return file.getvalue()

    def said(pdf: bytes) -> str:
        return PdfReader(io.BytesIO(pdf)).pages[0].extract_text()

    plain = written()
    with texts_kept():
        small = written()
    assert said(small) == said(plain) != ""
    assert len(small) < len(plain)
