"""itables and plotly carry the scripts that the HTML report puts into its page, in the files and the form relied on."""

import re
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from sinkscope.compat import browser_bundles
from sinkscope.compat.browser_bundles import CHARTS, TABLES, datatables_script, datatables_style, plotly_script
from sinkscope.errors import SinkscopeError


def test_datatables_leaves_its_name_in_the_window() -> None:
    script = datatables_script()
    assert script.startswith("(() => {")
    assert len(re.findall(rf"window\.{TABLES} = [\w$]+;", script)) == 1
    assert not re.search(r"\b(export|import)\s*[{*(]", script)
    assert "SpryMedia" in script  # its licence goes with it


def test_plotly_leaves_its_name_in_the_window() -> None:
    assert f"var {CHARTS}=" in plotly_script()
    assert "Licensed under the MIT license" in plotly_script()


def test_nothing_in_them_ends_an_element() -> None:
    assert "</style" not in datatables_style()
    assert "table.dataTable" in datatables_style()


def test_the_style_fetches_nothing() -> None:
    addresses = re.findall(r"url\(\s*['\"]?([^)]{0,30})", datatables_style())
    assert [address for address in addresses if not address.startswith("data:")] == []


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(browser_bundles, "find_spec", lambda _: None)
    with pytest.raises(SinkscopeError, match="pip install plotly"):
        plotly_script()
    spec = ModuleSpec("itables", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(browser_bundles, "find_spec", lambda _: spec)
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "dt_bundle.js").write_text("export default 1;", encoding="utf-8")
    with pytest.raises(SinkscopeError, match="pip install 'itables"):
        datatables_script()
