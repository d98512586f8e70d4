"""How a document longer than the model's context is cut into windows, so that every token is scored exactly once.

A prefix token stands before the document, so that its first token is predicted by something. The model reads `window`
tokens at a time. The first window scores all that it predicts; each later one ends `stride` tokens after the one before
and scores those alone, whose first then has window - stride + 1 tokens of context. The last window is as full as the
others. With stride = window these are the windows of lm-evaluation-harness's `loglikelihood_rolling`.
"""

from typing import NamedTuple


class Window(NamedTuple):
    """A forward pass over a part of a document.

    Positions are those of the prefixed document, in which the prefix is 0 and the document's tokens are 1..n.

    Attributes:
        start: first position that the model reads.
        end: position after the last one that it reads, and the last position that it scores.
        scored: how many positions it scores: end - scored + 1 .. end.
    """

    start: int
    end: int
    scored: int


def rolling_windows(tokens: int, window: int, stride: int) -> list[Window]:
    """The windows of a document.

    Args:
        tokens: n, the document's tokens without the prefix.
        window: tokens that the model reads at once.
        stride: tokens scored by each window but the first, at most `window`.
    """
    if not tokens:
        return []
    done = min(window, tokens)
    windows = [Window(0, done, done)]
    while done < tokens:
        scored = min(stride, tokens - done)
        done += scored
        windows.append(Window(done - window, done, scored))
    return windows
