"""No report holds a letter that no eye could see: not the page, its tables, the PDF, nor the text."""

import base64
import gzip
import re
from pathlib import Path

import pandas as pd
import pypdf
import pytest
from html_runs import RUNS

from sinkscope.report.render import render
from sinkscope.tables.run_folder import Run
from sinkscope.terminal import readable

EVIL = "a\x1b]0;b\x07\u202ec\u2066\x9b"


def evil(run: Run) -> Run:
    """The run with such a name for its model, its text, its tokens and its notes."""
    tables = {name: table.assign(token=EVIL) if "token" in table else table for name, table in run.tables.items()}
    tables["more"] = pd.DataFrame({EVIL: [EVIL], "token": [EVIL]})
    info = dict(run.info)
    if "model" in info:
        info["model"] = {**info["model"], "name": EVIL, "family": EVIL, EVIL: EVIL}
    if "data" in info:
        info["data"] = {**info["data"], "source": EVIL}
    for several in ("models", "runs"):
        if several in info:
            info[several] = [{**one, "name": EVIL} for one in info[several][:1]] + info[several][1:]
    return Run({**info, EVIL: EVIL, "tables": list(tables)}, tables)


@pytest.mark.parametrize("kind", ["analysis"])
def test_no_report_holds_one(kind: str, tmp_path: Path) -> None:
    render(evil(RUNS[kind]), tmp_path, ("html", "pdf", "md", "tex"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    islands = re.findall(r'<script type="text/plain" id="(rows-[^"]*)">([^<]*)</script>', page)
    assert islands
    texts = [re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)]
    texts += [gzip.decompress(base64.b64decode(content)).decode() for _, content in islands]
    texts += [sheet.extract_text() for sheet in pypdf.PdfReader(tmp_path / "report.pdf").pages]
    texts += [(tmp_path / name).read_text(encoding="utf-8") for name in ("headline.md", "headline.tex")]
    for text in texts:
        assert not [letter for letter in text if letter != "\n" and readable(letter) != letter]
