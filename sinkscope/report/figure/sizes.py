"""Letters and lines at the size of print: what is 9 points on a page of the report is 7 in a column of a paper."""

import numpy as np
from matplotlib.collections import Collection, PathCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from sinkscope.report import style
from sinkscope.report.page import Page

SCALE = 7 / style.SMALL
HEADING, BODY, SMALL = SCALE * style.HEADING, SCALE * style.BODY, SCALE * style.SMALL
_LENGTH, _WIDTH = 2.5, 0.6  # of ticks, in points


def shrink(page: Page) -> None:
    """Makes everything on a page smaller by the same factor."""
    for artist in page.findobj():
        if isinstance(artist, Text):
            artist.set_fontsize(SCALE * float(artist.get_fontsize()))
        elif isinstance(artist, Line2D):
            artist.set_linewidth(SCALE * artist.get_linewidth())
            artist.set_markersize(SCALE * artist.get_markersize())
            artist.set_markeredgewidth(SCALE * artist.get_markeredgewidth())
        elif isinstance(artist, Patch):
            artist.set_linewidth(SCALE * artist.get_linewidth())
        elif isinstance(artist, Collection):
            artist.set_linewidth((SCALE * np.asarray(artist.get_linewidth(), dtype=float)).tolist())
            if isinstance(artist, PathCollection):
                artist.set_sizes(SCALE**2 * artist.get_sizes())
    for axes in page.axes:
        axes.tick_params(which="both", labelsize=SMALL, length=_LENGTH, width=_WIDTH, pad=_LENGTH)
