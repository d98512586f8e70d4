"""Documents from the `datasets` library, an optional extra: a dataset's name, or a folder that the library reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from sinkscope.compat.hub import TransportError
from sinkscope.errors import SinkscopeError, first_line
from sinkscope.text.document_files import text_of
from sinkscope.text.documents import Document


def load_rows(path: Path, source: str, config: str | None, split: str, *, streaming: bool) -> Iterable[dict[str, Any]]:
    """Loads one split.

    Args:
        path: the source as a path; an existing folder is read in place.
        source: the source as the user named it.
        config: configuration, None for the default one.
        split: name of the split.
        streaming: read while downloading.

    Raises:
        SinkscopeError: if the library cannot load it.
    """
    absent = "" if path.exists() else f"there is no file or folder {source}, and "
    if not path.is_dir():
        _check_reachable(source, absent)
    quiet = not datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if path.is_dir() and config is None:
            try:
                return _saved_split(datasets.load_from_disk(path), source, split)
            except IndexError as error:  # the library's own way to say that there are no files of rows
                raise SinkscopeError(f"{source} is empty: there is no row in it") from error
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(
            str(path) if path.is_dir() else source, config, split=split, streaming=streaming
        )
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SinkscopeError(f"{absent}the datasets library cannot load {source}: {reason}") from error
    finally:
        if not quiet:
            datasets.enable_progress_bars()
    return rows


def row_documents(rows: Iterable[dict[str, Any]], source: str, column: str) -> Iterator[Document]:
    """Yields a document per row that is not blank.

    Raises:
        SinkscopeError: while iterating, for a missing column, a column without text, or rows that are all blank.
    """
    blank = True
    for number, row in enumerate(_safely(rows, source)):
        text = text_of(row, column, f"{source}, row {number}")
        if text.strip():
            blank = False
            yield Document(f"{source}:{number}", text)
    if blank:
        raise SinkscopeError(f"{source} is empty: there is no text in it")


def _safely(rows: Iterable[dict[str, Any]], source: str) -> Iterator[dict[str, Any]]:
    """The rows; what the library or Python cannot make of one ends in one line."""
    try:
        yield from rows
    except SinkscopeError:
        raise
    except (DatasetsError, pyarrow.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        raise SinkscopeError(f"the datasets library cannot read the rows of {source}: {first_line(error)}") from error


def _check_reachable(source: str, absent: str) -> None:
    """Fails at once where the Hub is out of reach: the library itself would retry for half a minute.

    In offline mode nothing is asked, and the library reads its cache; other complaints of the Hub are left to it.
    """
    try:
        HfApi().dataset_info(source)
    except (OfflineModeIsEnabled, HfHubHTTPError, HFValidationError):
        return
    except TransportError as error:
        raise SinkscopeError(
            f"{absent}the Hugging Face Hub cannot be reached for a dataset {source}: "
            "set HF_HUB_OFFLINE=1 to use one that was downloaded before"
        ) from error


def _saved_split(saved: Any, source: str, split: str) -> Iterable[dict[str, Any]]:
    if isinstance(saved, datasets.DatasetDict):
        if split not in saved:
            raise SinkscopeError(f"{source} has no split '{split}': choose a `split` of {', '.join(saved)}")
        saved = saved[split]
    rows: Iterable[dict[str, Any]] = saved
    return rows
