"""A hash of everything that a source of text holds: the same name can stand for another text tomorrow.

Tokens are kept for other runs, and a training goes on after weeks. Both know their text by this hash. Of files it is
over their names and bytes, in the order in which they are read; of what Python brings along over its documents. A data
set of the Hub is not read for it: there its name, configuration and split must do.
"""

import hashlib
from pathlib import Path

from sinkscope.errors import SinkscopeError
from sinkscope.files.sealed import content_hash
from sinkscope.inputs import TextSource
from sinkscope.text.document_files import READERS, find_files
from sinkscope.text.stdlib import BY_NAME


def text_sha256(text: TextSource) -> str:
    """The hash of a source's content.

    Raises:
        SinkscopeError: if a file cannot be read.
    """
    path = Path(text.data).expanduser()
    if text.data in BY_NAME:
        return content_hash([[document.name, document.text] for document in BY_NAME[text.data]()])
    how = [text.config, text.split, text.column]
    if path.is_dir():
        files = find_files(path) or sorted(file for file in path.rglob("*") if file.is_file())
        if not all(file.suffix in READERS for file in files) or text.config is not None:
            files = sorted(file for file in path.rglob("*") if file.is_file())
        return content_hash([how, [[file.relative_to(path).as_posix(), _file_sha256(file)] for file in files]])
    if path.is_file():
        return content_hash([how, [path.name, _file_sha256(path)]])
    return content_hash([how, text.data])


def _file_sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SinkscopeError(f"cannot read {file}: {error.strerror or error}") from error
