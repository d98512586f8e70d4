"""Beginning a run.json: one function writes the keys that every kind of run has, and adds those of the kind."""

import datetime
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from typing import Any

from sinkscope.provenance.declared import KINDS
from sinkscope.version import __version__

SCHEMA = 1
TABLE_LIBRARIES = ("numpy", "pandas", "pyarrow", "matplotlib")
"""What numbers depend on that come from tables alone."""
LIBRARIES = ("torch", "transformers", "accelerate", *TABLE_LIBRARIES)
"""What numbers depend on that come from a model."""


def begin(
    kind: str,
    *,
    settings: Mapping[str, Any],
    conventions: Mapping[str, str],
    headline: Mapping[str, Any],
    versions: Mapping[str, str] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """A run's provenance, settings and headline numbers, as they stand in run.json; `tables` follow when it is written.

    Args:
        kind: of `provenance.declared.KINDS`.
        settings: what was asked for.
        conventions: definitions that have rivals.
        headline: the headline numbers.
        versions: of what the numbers depend on; by default of `LIBRARIES`.
        **others: what is declared for this kind of run besides.
    """
    return ordered(
        {
            "kind": kind,
            "schema": SCHEMA,
            "sinkscope": __version__,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "settings": dict(settings),
            "conventions": dict(conventions),
            "versions": dict(versions) if versions is not None else library_versions(),
            "headline": dict(headline),
            **others,
        }
    )


def library_versions(libraries: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Versions of the interpreter and of libraries."""
    return {"python": platform.python_version(), **{name: _version(name) for name in libraries}}


@cache
def _version(library: str) -> str:
    return metadata.version(library)


def ordered(info: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the order of the declaration, what is not declared last."""
    kind = KINDS.get(info.get("kind", ""))
    names = [key.name for key in kind.keys] if kind is not None else []
    return {name: info[name] for name in dict.fromkeys((*names, *info)) if name in info}
