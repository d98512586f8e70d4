"""Documents in files: plain text, JSON lines and parquet.

A .txt file is one document; a .jsonl or .parquet row is one, in the column that holds text. Text is read as it is
stored, in strict UTF-8: a document that had to be repaired would no longer be the one that its hash stands for. Blank
documents hold nothing to measure and are skipped; a source in which nothing else remains is an error.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet

from sinkscope.documents.read import json_of
from sinkscope.errors import SinkscopeError, first_line
from sinkscope.text.documents import Document

_SURROGATE = re.compile("[\ud800-\udfff]")


def find_files(folder: Path) -> list[Path]:
    """Readable text files below a folder, sorted by relative path; hidden ones are left out."""
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix in READERS and path.is_file()
    }
    return [files[name] for name in sorted(files) if not any(part.startswith(".") for part in name.split("/"))]


def read_files(files: list[Path], root: Path, column: str) -> Iterator[Document]:
    """Yields the documents of files, in order.

    Args:
        files: paths with a suffix of `READERS`.
        root: what document names are relative to.
        column: the field or column that holds the text.

    Raises:
        SinkscopeError: while iterating, for a file that cannot be read or holds no such text, and at the end if every
            document was blank.
    """
    blank = True
    for file in files:
        name = file.relative_to(root).as_posix()
        try:
            for document in READERS[file.suffix](file, name, column):
                if document.text.strip():
                    blank = False
                    yield document
        except OSError as error:
            raise SinkscopeError(f"cannot read {file}: {error.strerror or error}") from error
    if blank:
        source = str(files[0]) if len(files) == 1 else str(root)
        raise SinkscopeError(f"{source} is empty: there is no text in it")


def _read_text(path: Path, name: str, _column: str) -> Iterator[Document]:
    yield Document(name, _decode(path.read_bytes(), str(path)))


def _read_json_lines(path: Path, name: str, column: str) -> Iterator[Document]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{path}, line {number}"
            text = _decode(line, place)
            if not text.strip():
                continue
            row = json_of(text, place)
            if not isinstance(row, dict):
                raise SinkscopeError(f"{place} is not a JSON object")
            yield Document(f"{name}:{number}", text_of(row, column, place))


def _read_parquet(path: Path, name: str, column: str) -> Iterator[Document]:
    number = 0
    try:
        table = pyarrow.parquet.ParquetFile(path)
        if column not in table.schema_arrow.names:
            raise missing_column(column, table.schema_arrow.names, str(path))
        for batch in table.iter_batches(batch_size=1024, columns=[column]):
            for row in batch.to_pylist():
                number += 1
                yield Document(f"{name}:{number}", text_of(row, column, f"{path}, row {number}"))
    except UnicodeDecodeError as error:
        raise SinkscopeError(f"{path}, row {number + 1} or after it: '{column}' is not UTF-8 text") from error
    except pyarrow.ArrowInvalid as error:
        raise SinkscopeError(f"{path} is not a whole parquet file: {first_line(error)}") from error
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:  # a date beyond what Python holds, and others
        raise SinkscopeError(f"{path} cannot be read as parquet: {first_line(error)}") from error


def text_of(row: dict[str, object], column: str, place: str) -> str:
    """The text of a row; blank where the column is null.

    Raises:
        SinkscopeError: if the row lacks the column, or holds something else than text there.
    """
    if column not in row:
        raise missing_column(column, list(row), place)
    value = row[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SinkscopeError(f"{place}: '{column}' holds {type(value).__name__}, not text: choose another `column`")
    if not value.isascii() and _SURROGATE.search(value):
        raise SinkscopeError(f"{place}: '{column}' holds half of a pair of surrogates, which is no text in UTF-8")
    return value


def missing_column(column: str, there: list[str], place: str) -> SinkscopeError:
    """The error for a column that does not exist, naming those that do."""
    return SinkscopeError(f"{place} has no '{column}': choose a `column` of {', '.join(there) or 'none'}")


def _decode(raw: bytes, place: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SinkscopeError(f"{place} is not UTF-8 text: {error.reason} at byte {error.start}") from error


READERS: dict[str, Callable[[Path, str, str], Iterator[Document]]] = {
    ".txt": _read_text,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
