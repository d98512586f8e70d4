"""Documents in files: plain text, JSON lines and parquet.

A .txt file is one document; a .jsonl or .parquet row is one, in the column that holds text. Text is read as it is
stored, in strict UTF-8: a document that had to be repaired would no longer be the one that its hash stands for. Blank
documents hold nothing to measure and are skipped; a source in which nothing else remains is an error.
"""

import codecs
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet

from sinkscope.documents.read import json_of
from sinkscope.errors import SinkscopeError, first_line
from sinkscope.inside import refuse_unreadable_name
from sinkscope.text.documents import Document

_BLOCK = 1 << 16  # bytes that are read at once
_ROWS = 64  # of a parquet file that are held at once: a cell may be a book
_IS_TEXT = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_string_view, pyarrow.types.is_null)


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
                if not document.is_blank():
                    blank = False
                    yield document
        except OSError as error:
            raise SinkscopeError(f"cannot read {file}: {error.strerror or error}") from error
    if blank:
        source = str(files[0]) if len(files) == 1 else str(root)
        raise SinkscopeError(f"{source} is empty: there is no text in it")


def _read_text(path: Path, name: str, _column: str) -> Iterator[Document]:
    yield Document(name, partial(_text_of_file, path))


def _text_of_file(path: Path) -> Iterator[str]:
    """A file's text in pieces, strictly decoded as far as it is read."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    done = 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                waiting = len(decoder.getstate()[0])
                yield decoder.decode(block)
                done += len(block)
            waiting = len(decoder.getstate()[0])
            yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _not_text(path, error.reason, done - waiting + error.start) from error
    except OSError as error:
        raise SinkscopeError(f"cannot read {path}: {error.strerror or error}") from error


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
    refuse_unreadable_name(path)
    try:
        table = pyarrow.parquet.ParquetFile(path)
        if column not in table.schema_arrow.names:
            raise missing_column(column, table.schema_arrow.names, str(path))
        _check_text_column(table.schema_arrow.field(column).type, column, str(path))
        number = 0
        for batch in table.iter_batches(batch_size=_ROWS, columns=[column]):
            for cell in batch.column(0):
                number += 1
                place = f"{path}, row {number}"
                try:
                    value = cell.as_py()
                except UnicodeDecodeError as error:
                    raise _not_text(place, error.reason, error.start) from error
                yield Document(f"{name}:{number}", text_of({column: value}, column, place))
    except pyarrow.ArrowException as error:
        raise SinkscopeError(f"{path} is not a whole parquet file: {first_line(error)}") from error


def _check_text_column(kind: pyarrow.DataType, column: str, place: str) -> None:
    """Refuses a column that is no text before its values, which Python may have none for, are looked at."""
    of = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    if not any(is_text(of) for is_text in _IS_TEXT):
        raise SinkscopeError(f"{place}: '{column}' holds {kind}, not text: choose another `column`")


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
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise SinkscopeError(
                f"{place}: '{column}' holds half of a character (a lone surrogate) at letter {error.start}"
            ) from error
    return value


def missing_column(column: str, there: list[str], place: str) -> SinkscopeError:
    """The error for a column that does not exist, naming those that do."""
    return SinkscopeError(f"{place} has no '{column}': choose a `column` of {', '.join(there) or 'none'}")


def _decode(raw: bytes, place: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(place, error.reason, error.start) from error


def _not_text(place: Path | str, reason: str, byte: int) -> SinkscopeError:
    return SinkscopeError(f"{place} is not UTF-8 text: {reason} at byte {byte}")


READERS: dict[str, Callable[[Path, str, str], Iterator[Document]]] = {
    ".txt": _read_text,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
