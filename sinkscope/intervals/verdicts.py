"""One word per metric and run, from intervals and a stated margin, never by eye.

With the margin m > 1, the ratio r of a run to the reference and its 95 % interval [low, high]:

    preserved     1/m <= low and high <= m:  whatever the ratio is, it is within the margin
    suppressed    high < 1 and r < 1/m:      surely smaller, and by more than the margin as measured
    grown         low > 1 and r > m:         the mirror image
    unclear       everything else:           the data do not say

A ratio that differs from 1 beyond doubt but stays within the margin is `preserved`: the margin is what counts as the
same. `no interval` and `not judged` say that the words above were not applied at all.
"""

import math

REFERENCE = "reference"
PRESERVED, SUPPRESSED, GROWN, UNCLEAR = "preserved", "suppressed", "grown", "unclear"
NO_INTERVAL, NOT_JUDGED, NOT_MEASURED = "no interval", "not judged", "not measured"
VERDICTS = (REFERENCE, PRESERVED, SUPPRESSED, GROWN, UNCLEAR, NO_INTERVAL, NOT_JUDGED, NOT_MEASURED)

MARGIN = 1.25


def verdict(ratio: float, low: float, high: float, margin: float) -> str:
    """The word for a ratio.

    Args:
        ratio: as measured.
        low: lower end of its interval.
        high: upper end; may be infinite.
        margin: m.
    """
    if math.isnan(ratio) or math.isnan(low) or math.isnan(high):
        return NO_INTERVAL
    if 1 / margin <= low and high <= margin:
        return PRESERVED
    if high < 1 and ratio < 1 / margin:
        return SUPPRESSED
    if low > 1 and ratio > margin:
        return GROWN
    return UNCLEAR
