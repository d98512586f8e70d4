"""One word per metric and run, from intervals and a stated margin, never by eye.

With the margin m > 1 and the 95 % interval [low, high] of the ratio of a run to the reference, in this order:

    unchanged              1/m <= low and high <= m:  whatever the ratio is, it is within the margin
    suppressed             high < 1/m:  surely smaller, and by more than the margin
    grown                  low > m:     the mirror image
    lower, size unclear    high < 1:    surely smaller; whether by more than the margin, the data do not say
    higher, size unclear   low > 1:     the mirror image
    unclear                everything else

Of what one wants less of, a perplexity, the words are of value: better for suppressed, worse for grown, and the same
with `size unclear`.

A ratio that differs from 1 beyond doubt but stays within the margin is `unchanged`: the margin is what counts as the
same. `no interval` and `not judged` say that the words above were not applied at all.
"""

import math

REFERENCE = "reference"
UNCHANGED, SUPPRESSED, GROWN, UNCLEAR = "unchanged", "suppressed", "grown", "unclear"
LOWER, HIGHER = "lower, size unclear", "higher, size unclear"
BETTER, WORSE = "better", "worse"
BETTER_UNSIZED, WORSE_UNSIZED = "better, size unclear", "worse, size unclear"
NO_INTERVAL, NOT_JUDGED, NOT_MEASURED = "no interval", "not judged", "not measured"

SMALLER = (SUPPRESSED, LOWER, BETTER, BETTER_UNSIZED)
LARGER = (GROWN, HIGHER, WORSE, WORSE_UNSIZED)
JUDGED = (SUPPRESSED, LOWER, GROWN, HIGHER, BETTER, BETTER_UNSIZED, WORSE, WORSE_UNSIZED, UNCHANGED, UNCLEAR)
"""The words that say something of a ratio, in the order in which they are told."""
VERDICTS = (REFERENCE, *JUDGED, NO_INTERVAL, NOT_JUDGED, NOT_MEASURED)

_OF_COST = {SUPPRESSED: BETTER, GROWN: WORSE, LOWER: BETTER_UNSIZED, HIGHER: WORSE_UNSIZED}

MARGIN = 1.25


def verdict(low: float, high: float, margin: float, *, cost: bool = False) -> str:
    """The word for a ratio.

    Args:
        low: lower end of its interval.
        high: upper end; may be infinite.
        margin: m.
        cost: whether less of the metric is better.
    """
    word = _of_size(low, high, margin)
    return _OF_COST.get(word, word) if cost else word


def _of_size(low: float, high: float, margin: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return NO_INTERVAL
    if 1 / margin <= low and high <= margin:
        return UNCHANGED
    if high < 1:
        return SUPPRESSED if high < 1 / margin else LOWER
    if low > 1:
        return GROWN if low > margin else HIGHER
    return UNCLEAR


REPRODUCED, REFUTED, UNDECIDED, UNTESTABLE = "reproduced", "not reproduced", "undecided", "not testable"
CLAIMED = (REPRODUCED, REFUTED, UNDECIDED, UNTESTABLE)
"""The words for a claim that was written down before, by the rule of `sinkscope.reproduction.rule`."""
