"""run.json as documentation, printed from its declaration so that the two cannot disagree.

python -m sinkscope.provenance.reference > docs/run-json.md
"""

import sys
from collections.abc import Sequence

from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.key import Key
from sinkscope.provenance.shared_keys import CLOSING, MEASURING, OPENING

_HEADER = """\
# run.json

What a run says of itself: the model and the text, pinned, every setting, and the headline numbers. Keys are written
with those that they stand under; `*` is any name, `[]` every item of a list. This file is generated:
`python -m sinkscope.provenance.reference > docs/run-json.md`.
"""
_SHARED = (*OPENING, *MEASURING, *CLOSING)
_NOT_IN = {key.name: [name for name, kind in KINDS.items() if key not in kind.keys] for key in _SHARED}


def provenance_markdown() -> str:
    """All declared keys, in markdown."""
    sections = [_section("Every run", "", _SHARED)]
    sections += [_section(kind.name, f"{kind.meaning}\n\n", kind.own) for kind in KINDS.values()]
    return "\n".join([_HEADER, *sections])


def _section(title: str, text: str, keys: Sequence[Key]) -> str:
    lines = ["| key | type | always | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{key.name}` | {key.type} | {_always(key)} | {key.meaning} |" for key in keys]
    return f"## {title}\n\n{text}" + "\n".join(lines) + "\n"


def _always(key: Key) -> str:
    missing = _NOT_IN.get(key.name) if key in _SHARED else None
    if missing:
        return f"but for {', '.join(missing)}"
    return "yes" if key.always else "no"


if __name__ == "__main__":
    sys.stdout.write(provenance_markdown())
