"""Keeping transformers and bitsandbytes from printing while a model is loaded.

They report missing or unexpected weights, casts and progress as warnings and bars on the terminal. Where such a report
means that a model is not the one that was asked for, the code that loads it checks the same thing and raises an error;
the rest would only hide that error.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Keeps the reports and progress bars of transformers and bitsandbytes out of the terminal.

    Args:
        bars: whether progress bars stay, for downloads.
    """
    verbosity, had_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    if not bars:
        transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns once per layer that int8 casts to float16
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            transformers_logging.enable_progress_bar()
