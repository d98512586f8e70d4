"""The corpus that every Python installation already holds.

It serves as the offline default for training and probing: the prose of the language reference (`pydoc_data.topics`)
and the sources of the standard library. Both lists are ordered by the SHA-256 of the document's name and then
alternate while prose remains, so that any prefix is a mixture and the order is the same on every machine. Each of the
two is a source of its own as well, for questions that depend on the kind of text. The content follows the
interpreter's version; runs therefore record a hash of what they read.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

from sinkscope.text.documents import Document

# Not installed everywhere (tests, demos), generated per machine (_sysconfigdata), or read as prose instead (topics).
_SKIPPED_FOLDERS = {
    "test", "tests", "idlelib", "idle_test", "turtledemo", "lib2to3", "ensurepip", "site-packages", "dist-packages",
    "__pycache__", "__phello__", "lib-dynload", "pydoc_data",
}  # fmt: skip


def stdlib_documents() -> Iterator[Document]:
    """Yields the language reference's topics and the standard library's sources, mixed, in a fixed order."""
    pairs = zip_longest(stdlib_prose(), stdlib_code())
    yield from (document for document in chain.from_iterable(pairs) if document is not None)


def stdlib_prose() -> Iterator[Document]:
    """Yields the language reference's topics in a fixed order."""
    from pydoc_data.topics import topics

    for name in sorted(topics, key=_by_hash):
        yield Document(f"pydoc_data.topics/{name}", topics[name])


def stdlib_code() -> Iterator[Document]:
    """Yields the standard library's sources in a fixed order."""
    root = Path(os.__file__).parent
    paths = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*.py")
        if not _SKIPPED_FOLDERS.intersection(path.relative_to(root).parts) and not path.name.startswith("_sysconfig")
    }
    for name in sorted(paths, key=_by_hash):
        text = paths[name].read_text(encoding="utf-8", errors="replace")
        if text.strip():
            yield Document(name, text)


def _by_hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


STDLIB, PROSE, CODE = "stdlib", "stdlib-prose", "stdlib-code"

BY_NAME: dict[str, Callable[[], Iterator[Document]]] = {
    STDLIB: stdlib_documents,
    PROSE: stdlib_prose,
    CODE: stdlib_code,
}
"""The sources of text that need no file, by the name that a request takes."""
