"""The pages of attention maps: sinks marked at their columns, alphas of the very sequence, tokens by name."""

from dataclasses import replace

import numpy as np
import pytest
from inspection import assert_legible
from matplotlib.colors import to_hex
from synthetic import Shape, synthetic
from test_words import table

from sinkscope.report import style
from sinkscope.report.analysis.attention_maps import FIRST, draw_cells, draw_tokens, strongest, tokens
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

LAYERS, WINDOW = 6, 64


def run_with(*sinks: tuple[int, int, int, int, str, float], **tables: object) -> Run:
    """A run whose table `sinks` is made of rows (layer, head, sequence, position, token, alpha)."""
    run = synthetic(Shape(LAYERS, 2, 1, tokens=200))
    return replace(run, tables={**run.tables, "sinks": table("sinks", list(sinks)), **tables})


def panels(page: Page) -> list:
    return [axes for axes in page.axes if axes.images and axes.get_label() != "<colorbar>"]


def marks(axes: object) -> dict[int, str]:
    return {int(line.get_xdata()[0]): to_hex(line.get_color()).upper() for line in axes.lines}


def test_alpha_is_that_of_the_sequence_that_is_drawn() -> None:
    run = run_with()
    maps, settings = run["maps"], run.info["settings"]
    assert settings["sink_window"] == WINDOW
    for head in strongest(run, 3):
        total = 0.0
        for query in range(WINDOW):
            cell = maps[(maps["layer"] == head.layer) & (maps["head"] == head.head) & (maps["kind"] == "window")
                        & (maps["row"] == query) & (maps["column"] == 0)]  # fmt: skip
            total += float(cell["weight"].iloc[0])
        assert head.alpha == pytest.approx(total / WINDOW)
    changed = run_with(maps=maps.assign(weight=maps["weight"] * np.where(maps["layer"] == 1, 0.5, 1)))
    before = {head.layer: head.alpha for head in strongest(run, LAYERS)}
    after = {head.layer: head.alpha for head in strongest(changed, LAYERS)}
    assert after[1] == pytest.approx(0.5 * before[1])
    assert after[2] == before[2]


def test_each_stretch_of_the_depth_shows_its_strongest_head() -> None:
    run = run_with()
    alpha = run["heads"].query("position == 0").set_index(["layer", "head"])["alpha"]
    for count in (1, 3, LAYERS):
        chosen = strongest(run, count)
        assert len(chosen) == count
        for number, head in enumerate(chosen):
            stretch = [layer for layer in range(LAYERS) if layer * count // LAYERS == number]
            assert alpha[head.layer, head.head] == alpha[stretch].max()


def test_sinks_are_marked_at_their_columns_and_named() -> None:
    (first, *_) = strongest(run_with(), 3)
    at = (first.layer, first.head)
    run = run_with((*at, 0, 0, "Em", 0.61), (*at, 0, 4, " of", 0.43), (*at, 0, 90, "far", 0.35), (*at, 1, 7, "no", 0.9))
    colours = {0: style.TOKEN_ZERO, 4: style.GREEN}
    shown = panels(draw_tokens(run))[0]
    assert marks(shown) == colours
    assert shown.get_title().endswith('\nalpha 0.61 at 0 "<bos>", 0.43 at 4 " of"')
    whole = next(
        axes
        for axes in panels(draw_cells(run))
        if axes.get_title().startswith(f"layer {first.layer}, head {first.head}\n")
    )
    assert marks(whole) == {**colours, 90: style.GREEN}
    assert all("no sink; alpha" in axes.get_title() for axes in panels(draw_tokens(run))[1:])


def test_the_first_tokens_are_named_one_by_one() -> None:
    shown = panels(draw_tokens(run_with()))
    labels = [label.get_text() for label in shown[0].get_yticklabels()]
    assert len(labels) == FIRST
    assert labels[:2] == ['0 "<bos>"', '1 "the"']
    assert all(axes.images[0].get_array().shape == (FIRST, FIRST) for axes in shown)


def test_cells_are_drawn_over_the_positions_that_they_hold() -> None:
    for axes in panels(draw_cells(run_with())):
        assert axes.images[0].get_array().shape == (64, 64)
        assert axes.get_xlim() == (-0.5, 199.5)


def test_older_runs_name_the_tokens_that_their_tables_name() -> None:
    run = run_with((0, 0, 0, 0, "Em", 0.6), (0, 0, 0, 40, " the", 0.5), (0, 0, 1, 41, "other", 0.5))
    old = replace(run, tables={name: rows for name, rows in run.tables.items()
                               if name not in ("map_tokens", "sink_norms")})  # fmt: skip
    known = tokens(old)
    assert (known[0], known[40]) == ("Em", " the")
    assert known.get(41) != "other"
    assert_legible(old)
