"""The HTML report in a real browser: sorts, searches, pages, hovers; no request, no foreign script, no overflow."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from html_runs import EVIL, RUNS, whole

from sinkscope.report.html.markup import visible

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]
SECONDS = 60_000  # at most, in milliseconds


@dataclass
class Seen:
    """A page in a browser, what it asked for, and what it complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)  # that were tried
    answered: list[str] = field(default_factory=list)  # of those, not stopped by the policy
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as library:
        started = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    for kind, run in RUNS.items():
        (made / f"{kind}.html").write_text(whole(run), encoding="utf-8")
    return made


def opened(browser: Any, file: Path, width: int = 1400, scheme: str = "light") -> Seen:
    """The page once all its charts are drawn."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    seen = Seen(page)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("requestfinished", lambda request: seen.answered.append(request.url))
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.goto(file.as_uri())
    for chart in page.query_selector_all(".chart"):
        page.wait_for_selector(f"#{chart.get_attribute('id')}[data-shown]")
    return seen


def shown(page: Any, name: str) -> Any:
    """A table, opened."""
    part = page.locator(f"details.table:has(table[aria-label='Table {name}'])")
    part.locator("> summary").click()
    part.locator(".dt-search input").wait_for()
    return part


def column(part: Any, number: int) -> list[str]:
    return [str(text) for text in part.locator(f"tbody tr td:nth-child({number + 1})").all_inner_texts()]


@pytest.fixture(scope="module")
def analysis(browser: Any, folder: Path) -> Seen:
    return opened(browser, folder / "analysis.html")


def test_numbers_sort_as_numbers_with_nulls_last(analysis: Seen) -> None:
    table = RUNS["analysis"]["positions"]
    place = list(table.columns).index("grad_norm")
    part = shown(analysis.page, "positions")
    part.locator(".dt-length select").select_option("500")
    head = part.locator("thead th").nth(place)
    head.click()
    playwright.expect(head).to_have_attribute("aria-sort", "ascending")
    expected = [float(f"{value:.6g}") for value in table["grad_norm"].dropna().sort_values()]
    nulls = int(table["grad_norm"].isna().sum())
    assert nulls > 0
    assert len(table) < 500
    assert column(part, place)[-nulls:] == [""] * nulls
    assert [float(text) for text in column(part, place)[:-nulls]] == expected
    head.locator("[role=button]").focus()
    analysis.page.keyboard.press("Enter")
    playwright.expect(head).to_have_attribute("aria-sort", "descending")
    assert [float(text) for text in column(part, place)[:-nulls]] == expected[::-1]
    assert column(part, place)[-nulls:] == [""] * nulls


def test_all_rows_are_found_and_paged(analysis: Seen) -> None:
    table = RUNS["analysis"]["massive"]
    massive = int(table["is_massive"].sum())
    part = shown(analysis.page, "massive")
    assert f"of {len(table):,} entries" in part.locator(".dt-info").inner_text()
    part.locator(".dt-search input").fill("yes")
    assert re.match(rf"Showing 1 to \d+ of {massive:,} entries", part.locator(".dt-info").inner_text())
    part.locator(".dt-search input").fill("")
    part.locator(".dt-length select").select_option("10")
    first = column(part, list(table.columns).index("value"))
    part.locator(".dt-paging-button", has_text="2").first.click()
    second = column(part, list(table.columns).index("value"))
    assert [float(text) for text in first + second] == [float(f"{value:.6g}") for value in table["value"].head(20)]


def test_markup_stays_text_in_tables(analysis: Seen) -> None:
    part = analysis.page.locator("details.table").last
    part.locator("> summary").click()
    part.locator(".dt-search input").wait_for()
    assert EVIL[:-1] in part.locator("tbody").inner_text()
    tokens = shown(analysis.page, "sinks")
    assert visible(EVIL) in tokens.locator("tbody").inner_text()


@pytest.mark.parametrize(
    ("chart", "words"),
    [
        ("sink_heatmap", "alpha at token 0"),
        ("token_norms", "norm"),
        ("gradient_sink", r"R_GS\(0\)"),
        ("massive_activations", "channel"),
    ],
)
def test_the_pointer_shows_what_is_under_it(analysis: Seen, chart: str, words: str) -> None:
    """Over the whole plot somewhere a label appears, with what the chart is about; tokens in it are text."""
    page = analysis.page
    plot = page.locator(f"#chart-{chart} .plot")
    plot.scroll_into_view_if_needed()
    points = plot.locator(".cartesianlayer .point").all()
    box = (points[0] if points else plot.locator(".nsewdrag").first).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = plot.locator(".hoverlayer .hovertext").first
    label.wait_for()
    assert re.search(words, label.text_content())
    assert plot.locator("a, img").count() == 0


def test_a_hovered_cell_is_the_right_one(analysis: Seen) -> None:
    page, run = analysis.page, RUNS["analysis"]
    plot = page.locator("#chart-sink_heatmap .plot")
    plot.scroll_into_view_if_needed()
    box = plot.locator(".nsewdrag").first.bounding_box()
    layers, heads = run.info["model"]["layers"], run.info["model"]["heads"]
    page.mouse.move(box["x"] + box["width"] * 2.5 / layers, box["y"] + box["height"] * 0.5 / heads)
    rows = run["heads"]
    (alpha,) = rows[(rows["layer"] == 2) & (rows["head"] == heads - 1) & (rows["position"] == 0)]["alpha"]
    label = plot.locator(".hoverlayer .hovertext", has_text=f"layer 2, query head {heads - 1}")
    label.wait_for()
    assert f"{alpha:.3f}" in label.text_content()


def test_a_site_is_chosen_by_keyboard(analysis: Seen) -> None:
    page = analysis.page
    choice = page.get_by_label("Site", exact=True).and_(page.locator("select"))
    choice.focus()
    before = page.evaluate("document.querySelector('#chart-token_norms .plot').data[0].z[0][0]")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(500)
    assert page.evaluate("document.querySelector('#chart-token_norms .plot').data[0].z[0][0]") != before


def test_a_link_opens_its_table(browser: Any, folder: Path) -> None:
    seen = opened(browser, folder / "comparison.html")
    seen.page.goto((folder / "comparison.html").as_uri() + "#table-comparison")
    seen.page.locator("#table-comparison .dt-search input").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("kind", RUNS)
def test_it_fits_and_is_silent(browser: Any, folder: Path, kind: str, width: int, scheme: str) -> None:
    """With every table open nothing is wider than the window, nothing is fetched, and no foreign script ran."""
    file = folder / f"{kind}.html"
    seen = opened(browser, file, width, scheme)
    for part in seen.page.locator("details").all():
        part.evaluate("part => { part.open = true; }")
    for table in seen.page.locator("table.data").all():
        table.locator("xpath=ancestor::*[contains(@class, 'dt-container')]").wait_for()
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    assert seen.page.evaluate("window.evil") is None
    assert seen.page.locator("img").count() == 0
    assert seen.requests == [file.as_uri()]
    assert seen.complaints == []
    ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 28)")
    boxes = seen.page.locator(".dt-container").first.evaluate("box => getComputedStyle(box).backgroundColor")
    assert boxes == "rgba(0, 0, 0, 0)"
    seen.page.context.close()


def test_a_foreign_script_would_not_run(browser: Any, tmp_path: Path, folder: Path) -> None:
    """The policy alone stops it, even where markup had slipped through."""
    text = (folder / "track.html").read_text(encoding="utf-8")
    body = "<script>window.evil = 1</script><img src='https://example.org/x.png' onerror='window.evil = 1'>"
    file = tmp_path / "slipped.html"
    file.write_text(text.replace("<main>", f"{body}<main>"), encoding="utf-8")
    seen = opened(browser, file)
    assert seen.page.evaluate("window.evil") is None
    assert seen.answered == [file.as_uri()]
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)


def test_print_shows_figures_and_numbers_alone(analysis: Seen) -> None:
    page = analysis.page
    page.emulate_media(media="print")
    assert page.locator(".said table").first.is_visible()
    assert page.locator("#sink_heatmap .picture svg").is_visible()
    assert not page.locator("#chart-sink_heatmap").is_visible()
    assert not page.locator("section.tables").is_visible()
    page.emulate_media(media="screen")


def test_without_scripts_words_and_figures_are_there(browser: Any, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "analysis.html").as_uri())
    assert page.get_by_text("Charts and tables need JavaScript").is_visible()
    assert page.locator("#sink_heatmap .picture svg").is_visible()
    assert not page.locator("#chart-sink_heatmap").is_visible()
    context.close()
