"""Documents by the name of their source: `stdlib` or a half of it, a file or folder, or a dataset of `datasets`.

What can be seen without reading is checked when a source is opened. Reading then streams, so that a few windows of a
large corpus cost no more than that.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import TextSource
from sinkscope.names import looks_like_a_path
from sinkscope.text.document_files import READERS, find_files, read_files
from sinkscope.text.documents import Document
from sinkscope.text.stdlib import BY_NAME

# What `Dataset.save_to_disk` and `DatasetDict.save_to_disk` leave in a folder.
_SAVED_DATASET = ("state.json", "dataset_dict.json")


def open_text(text: TextSource) -> Iterator[Document]:
    """Opens a text: `open_documents` with its fields."""
    documents = open_documents(
        text.data, config=text.config, split=text.split, streaming=text.streaming, column=text.column
    )
    if not text.special_tokens:
        return documents
    return (Document(name, content, special_tokens=True) for name, content, _ in documents)


def refuse_missing(text: TextSource) -> None:
    """Refuses a text of files that are not there; a data set is looked for when it is opened.

    Raises:
        SinkscopeError: as `open_text`.
    """
    path = Path(text.data).expanduser()
    if text.data in BY_NAME or not _is_dataset(path, text.data, text.config):
        open_text(text)


def open_documents(
    source: str,
    *,
    config: str | None = None,
    split: str = "train",
    streaming: bool = False,
    column: str = "text",
) -> Iterator[Document]:
    """Opens a source of documents.

    Args:
        source: `stdlib`, `stdlib-prose` or `stdlib-code`; a .txt, .jsonl or .parquet file; a folder of such files,
            read in sorted order, or a folder that `datasets` saved; else the name of a dataset for the `datasets`
            library.
        config: configuration of a dataset; given one, a folder too is read by the `datasets` library.
        split: split of a dataset.
        streaming: read a dataset while downloading it.
        column: field that holds the text of a JSON line, a parquet row or a dataset's row.

    Returns:
        The documents. Iterating raises SinkscopeError for content that cannot be read.

    Raises:
        SinkscopeError: if the source does not exist, is of no known kind, or needs a library that is not installed.
    """
    path = Path(source).expanduser()
    if source not in BY_NAME and _is_dataset(path, source, config):
        return _open_dataset(path, source, config, split, streaming, column)
    if config is not None or streaming:
        raise RequestError(f"`config` and `streaming` are for datasets, and {source} is none")
    return BY_NAME[source]() if source in BY_NAME else _open_path(path, source, column)


def _is_dataset(path: Path, source: str, config: str | None) -> bool:
    if path.is_dir():
        return config is not None or any((path / name).is_file() for name in _SAVED_DATASET)
    return not path.exists() and not looks_like_a_path(source) and path.suffix not in READERS


def _open_dataset(
    path: Path, source: str, config: str | None, split: str, streaming: bool, column: str
) -> Iterator[Document]:
    if importlib.util.find_spec("datasets") is None:
        absent = "" if path.exists() else f"there is no file or folder {source}, and "
        raise SinkscopeError(f"{absent}reading datasets needs an extra: pip install 'sinkscope[datasets]'")
    from sinkscope.text.datasets import load_rows, row_documents

    return row_documents(load_rows(path, source, config, split, streaming=streaming), source, column)


def _open_path(path: Path, source: str, column: str) -> Iterator[Document]:
    kinds = ", ".join(READERS)
    if path.is_dir():
        files = find_files(path)
        if not files:
            raise SinkscopeError(f"the folder {source} holds no text: it needs {kinds} files")
        return read_files(files, path, column)
    if not path.exists():
        raise SinkscopeError(f"there is no file or folder {source} to read text from")
    if path.suffix not in READERS:
        raise SinkscopeError(f"{source} is none of {kinds}")
    return read_files([path], path.parent, column)
