"""Which sequences a bootstrap draw holds, and how often.

A draw of n things out of n with replacement is a row of multiplicities that sum to n. Draws follow from the seed, the
number of things and a stream alone: runs that read the same windows share a stream, so a draw holds the same windows in
each of them and what they have in common cancels in their ratio (a paired bootstrap). Runs on different windows get
streams of their own.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CELLS = 2**22  # multiplicities held at once, so that memory does not grow with the number of sequences


def draws(things: int, count: int, seed: int, *stream: int) -> Iterator[Array]:
    """Multiplicities of `things` in `count` draws, in chunks [b, things] whose rows each sum to `things`.

    Args:
        things: n, how many there are to draw from.
        count: how many draws.
        seed: of the whole comparison.
        *stream: numbers that tell independent streams of draws apart.
    """
    random = np.random.default_rng([seed, *stream])
    chance = np.full(things, 1 / things)
    chunk = max(1, _CELLS // things)
    for start in range(0, count, chunk):
        yield random.multinomial(things, chance, size=min(chunk, count - start)).astype(float)
