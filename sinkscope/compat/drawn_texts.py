"""Texts that matplotlib lays out once for all formats and passes, and fonts that it embeds without what no PDF uses.

Needed: a page is laid out in two passes and drawn for every format, and each of these measures every text several times
anew, most of them tick labels that many pages share. That was a quarter of what a report costs. The layout of a text
depends on its letters, its font, how it is turned and aligned, and on what measures it; it is kept by these. And the
fonts of a PDF are cut down to the letters that occur, where most of the time goes into tables for shaping, which
letters that are already in place do not need.

Public alternative: none; matplotlib keeps widths alone, and for one page alone.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from fontTools.subset import Options
from matplotlib.text import Text

_TEXT: Any = Text  # whose stubs know public names alone

SHAPING = ["GDEF", "GPOS", "GSUB", "kern"]


@contextmanager
def texts_kept() -> Iterator[None]:
    """While entered, texts are laid out once, and embedded fonts have no tables for shaping. Blocks may be nested."""
    lay_out, dropped = _TEXT._get_layout, Options._drop_tables_default
    if hasattr(lay_out, "kept"):
        yield
        return
    kept: dict[Hashable, Any] = {}

    def kept_layout(self: Any, renderer: Any) -> Any:
        key = _key(self, renderer)
        if key is None:
            return lay_out(self, renderer)
        if key not in kept:
            kept[key] = lay_out(self, renderer)
        return kept[key]

    kept_layout.kept = kept  # type: ignore[attr-defined]
    _TEXT._get_layout, Options._drop_tables_default = kept_layout, [*dropped, *SHAPING]
    try:
        yield
    finally:
        _TEXT._get_layout, Options._drop_tables_default = lay_out, dropped


def _key(text: Any, renderer: Any) -> Hashable:
    """All that the layout depends on; None for a text that breaks by itself, or is set by LaTeX."""
    if text.get_wrap() or text.get_usetex():
        return None
    return (
        text.get_text(), hash(text.get_fontproperties()), text.get_rotation(), text.get_rotation_mode(),
        text.get_horizontalalignment(), text.get_verticalalignment(), text._multialignment, text._linespacing,
        text.get_parse_math(), getattr(text, "_features", None), getattr(text, "_language", None),
        text.get_figure(root=True).dpi, type(getattr(renderer, "_renderer", renderer)),
    )  # fmt: skip
