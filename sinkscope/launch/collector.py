"""Python's garbage collector, kept away where it only costs.

It looks through all objects there are, again and again while their number grows. Importing torch and drawing a page
make objects by the hundred thousand, hardly any of them garbage: a quarter of the time of either went there.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """While entered, garbage that needs the collector stays."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """For imports: what they make is not looked at while entered, and never again after it."""
    with uncollected():
        yield
        gc.freeze()
