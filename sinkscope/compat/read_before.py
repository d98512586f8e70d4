"""How many tokens a decoder has read before a call, and keeps in the cache that it is given.

Needed: an intervention counts positions from a text's first token, also while a model generates. The cache comes to
a decoder as a keyword, which releases call `past_key_values` or `cache`; it knows its own length (`get_seq_length`),
windows or not.

Public alternative: the keyword, once its name is settled.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

KEYWORDS = ("cache", "past_key_values")


def read_before(keywords: Mapping[str, Any]) -> int:
    """Tokens that lie before those of a call, given the keywords of a decoder's forward function."""
    for name in KEYWORDS:
        if keywords.get(name) is not None:
            return int(keywords[name].get_seq_length())
    return 0


def keyword_of(decoder: nn.Module) -> str:
    """The keyword by which a decoder takes a cache in this release."""
    taken = inspect.signature(decoder.forward).parameters
    return next(keyword for keyword in KEYWORDS if keyword in taken)
