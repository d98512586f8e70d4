"""A page of the report as a picture inside a page of HTML: its panels as SVG.

Title, caption and foot stand in the page as text, so the picture leaves them out, and the room that they have on paper.
Letters stay letters, which a browser finds and marks; where DejaVu Sans is missing, Verdana has its widths. On dark
paper a browser turns light and dark of a picture round, but for heat maps, which keep their shades and white paper.
"""

import io
import re
from typing import Any

from matplotlib.collections import QuadMesh

from sinkscope.report.html.markup import element
from sinkscope.report.page import Page

_TOP, _BOTTOM = 0.912, 0.12  # of the page's height: between title and caption
_KEY_TOP = 0.995  # with a key beside the title
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "sinkscope"}
_FONT = "'DejaVu Sans'"
_FONTS = "'DejaVu Sans', Verdana, sans-serif"
_VIEW = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_TAG = re.compile(r"<[^<>]*>")  # texts have no angle brackets of their own: matplotlib escapes them
_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')


def picture(page: Page, name: str, *, title: str, caption: str, whole: bool = False) -> str:
    """The page's panels as an SVG element; to be called inside `style.drawing()`.

    Args:
        page: a finished page.
        name: what all its ids begin with, so that pictures do not use each other's.
        title: id of the element that names the picture.
        caption: id of the element that describes it.
        whole: the page has no title, caption and foot whose room could be left out.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with page.bare():
        page.savefig(buffer, settings=_SETTINGS, format="svg", transparent=True, metadata=nothing)
    start, drawing = re.split(r"</style>\s*</defs>", buffer.getvalue(), maxsplit=1)
    width, height = (float(side) for side in _VIEW.findall(start)[0])
    top, bottom = _KEY_TOP if page.legends else _TOP, _BOTTOM
    if whole:
        top, bottom = 1.0, 0.0
    view = f"0 {height * (1 - top):.2f} {width:.2f} {height * (top - bottom):.2f}"
    drawing = _TAG.sub(lambda tag: _own_ids(tag[0], name), drawing[: drawing.rindex("</svg>")])
    return element("svg", drawing.replace(_FONT, _FONTS), viewBox=view, role="img", aria_labelledby=title,
                   aria_describedby=caption, class_="shaded" if _shaded(page) else None)  # fmt: skip


def _shaded(page: Page) -> bool:
    """Whether shades of the picture are values, as in a heat map: dark paper must not turn those round."""
    return any(axes.images or any(isinstance(part, QuadMesh) for part in axes.collections) for axes in page.axes)


def _own_ids(tag: str, name: str) -> str:
    return _REFERENCE.sub(rf"\g<1>{name}-", tag) if "#" in tag or "id=" in tag else tag
