"""What a page carries for its scripts: compressed, in letters that no markup has.

Base64 has no "<" and no quotation mark, so nothing in a table can end the element that holds it.
"""

import base64
import gzip
import hashlib
import json
from typing import Any

from sinkscope.report.html.markup import element


def island(name: str, text: str) -> str:
    """Text for the page's script to unpack, under an id. The same text gives the same bytes."""
    content = base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode("ascii")
    return element("script", content, type="text/plain", id=name)


def compact(value: Any) -> str:
    """JSON without blanks; NaN and infinities are refused."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def hash_of(script: str) -> str:
    """A script's name in a content policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
