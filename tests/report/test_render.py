"""Files on disk: complete, the same every time, and without a trace in matplotlib's global state."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from pypdf import PdfReader
from synthetic import Shape, synthetic

from sinkscope.errors import SinkscopeError
from sinkscope.report.analysis import sink_rate
from sinkscope.report.render import entries, render

RUN = synthetic(Shape(2, 2, 1, tokens=12, sequences=1))
FORWARD = synthetic(Shape(2, 2, 1, tokens=12, sequences=1, backward=False))
PNG = b"\x89PNG\r\n\x1a\n"


def test_every_figure_and_the_report_are_written_the_same_every_time(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    render(RUN, tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.p*")}
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == {entry.name for entry in entries(RUN)}
    assert len(PdfReader(tmp_path / "report.pdf").pages) == len(entries(RUN))
    assert dict(matplotlib.rcParams) == before
    render(RUN, tmp_path)
    assert [path.name for path, content in written.items() if path.read_bytes() != content] == []


def test_the_pdf_has_an_outline_of_its_pages_and_says_what_it_is(tmp_path: Path) -> None:
    render(RUN, tmp_path, formats=("pdf",))
    pdf = PdfReader(tmp_path / "report.pdf")
    titles = [entry.title for entry in entries(RUN)]
    assert [item.title for item in pdf.outline] == titles
    assert [pdf.get_destination_page_number(item) for item in pdf.outline] == list(range(len(titles)))
    assert all(title in page.extract_text() for title, page in zip(titles, pdf.pages, strict=True))
    assert pdf.metadata == {
        "/Title": "sinkscope report: example/model-1B on stdlib",
        "/Creator": f"sinkscope {RUN.info['sinkscope']}",
    }


@pytest.mark.usefixtures("one_page")
def test_formats_are_chosen_and_unknown_ones_refused(tmp_path: Path) -> None:
    render(FORWARD, tmp_path, formats=("pdf",))
    assert [path.name for path in tmp_path.iterdir()] == ["report.pdf"]
    with pytest.raises(SinkscopeError, match="bmp"):
        render(RUN, tmp_path, formats=("bmp",))


def test_a_figure_shows_itself_in_a_notebook() -> None:
    assert sink_rate.ENTRY.draw(RUN)._repr_png_().startswith(PNG)


def test_a_report_needs_no_torch_no_transformers_and_no_pyplot(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
sys.path.insert(0, {str(Path(__file__).parent)!r})
import sinkscope.report
from pathlib import Path
from sinkscope.report.render import render
from sinkscope.report.analysis.terminal import summary
from synthetic import Shape, synthetic
run = synthetic(Shape(2, 2, 1, tokens=12, sequences=1))
render(run, Path({str(tmp_path)!r}), formats=("pdf",))
assert str(summary(run))
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.pdf").is_file()
