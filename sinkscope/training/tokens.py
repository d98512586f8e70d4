"""Tokenized text on disk: made once, read by every process and every resumed run.

A training text can be larger than memory, and tokenizing it can take longer than a machine stays up. So tokens are
appended to a flat file, a few documents at a time, and a small JSON file beside it says how far that got; it is
replaced only after the tokens are down. Whatever was written beyond it is cut off by the next start. The JSON file has
the hash of the tokens, and tokens that are not what was written are made again. Reading maps the file, so that any
window is one seek away and the order of training does not depend on how the text was read.

Documents are joined with <eos> after each and cut into windows as in `sinkscope.text.packing`.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sinkscope.documents.read import check
from sinkscope.documents.state import TokensNote
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.failures import explained_failures
from sinkscope.files.sealed import DamagedError, read_sealed, write_sealed
from sinkscope.terminal import logger
from sinkscope.text.documents import Document
from sinkscope.text.stretches import id_stretches
from sinkscope.text.tokenizing import batch_token_ids

_log = logger(__name__)
_DOCUMENTS = 256  # per write
_SHORT = 1 << 16  # characters of a document that is tokenized at once
_NOTHING = {"tokens": 0, "documents": 0, "complete": False, "tokens_sha256": hashlib.sha256().hexdigest()}


@dataclass(frozen=True)
class TokenFileWindows:
    """Equal windows over a token file.

    Attributes:
        body: tokens of text, without <bos>, [N, B].
        bos: token id that stands before each window; None for plain packing.
    """

    body: "np.ndarray[Any, np.dtype[Any]]"
    bos: int | None

    def __len__(self) -> int:
        """N, the number of windows."""
        return len(self.body)

    def __getitem__(self, which: Tensor) -> Tensor:
        """Token ids of the windows with these numbers, int64 [len(which), T]."""
        ids = torch.from_numpy(self.body[which.numpy()].astype(np.int64))
        return ids if self.bos is None else torch.cat([torch.full((len(ids), 1), self.bos), ids], dim=1)


def write_tokens(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, file: Path, *, limit: int | None
) -> None:
    """Tokenizes documents into a file, or goes on where an earlier call was cut off.

    Args:
        documents: the text, the same on every call.
        tokenizer: must have an <eos>.
        file: its place; `file` with the suffix .json says how far it is.
        limit: stop once this many tokens are there; None takes all documents.

    Raises:
        SinkscopeError: if the tokenizer has no <eos>.
    """
    if tokenizer.eos_token_id is None:
        raise SinkscopeError("the tokenizer has no <eos> token, which packing puts between documents")
    dtype = _dtype(len(tokenizer))
    state, digest = _verified(file, dtype.itemsize)
    if state["complete"]:
        return
    with explained_failures(file):
        _write(documents, tokenizer, file, dtype, state, digest, limit)


def _write(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    file: Path,
    dtype: "np.dtype[Any]",
    state: dict[str, Any],
    digest: Any,
    limit: int | None,
) -> None:
    """Appends the tokens that are still missing; `digest` has seen those that are there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("r+b" if file.exists() else "w+b") as out:
        out.truncate(state["tokens"] * dtype.itemsize)
        out.seek(0, 2)
        for batch in _batches(islice(documents, state["documents"], None)):
            count = 0
            for ids in _ids(batch, tokenizer):
                written = np.asarray(ids, dtype=dtype).tobytes()
                out.write(written)
                digest.update(written)
                count += len(ids)
            out.flush()
            os.fsync(out.fileno())  # before the note that counts them
            state = {**state, "tokens": state["tokens"] + count, "documents": state["documents"] + len(batch)}
            state["tokens_sha256"] = digest.hexdigest()
            write_sealed(file.with_suffix(".json"), state)
            if limit is not None and state["tokens"] >= limit:
                break
    write_sealed(file.with_suffix(".json"), {**state, "complete": True})


def _verified(file: Path, itemsize: int) -> tuple[dict[str, Any], Any]:
    """How far a token file is, and the hash of its tokens; from the beginning where they are not what was written."""
    digest = hashlib.sha256()
    try:
        state = _state(file)
        left = state["tokens"] * itemsize
        with file.open("rb") if left else nullcontext() as stored:
            while stored is not None and left > 0 and (part := stored.read(min(left, 1 << 20))):
                digest.update(part)
                left -= len(part)
        if digest.hexdigest() != state["tokens_sha256"]:
            raise DamagedError(file)
    except DamagedError as error:
        _log.warning("%s: the text is tokenized again", error)
        return dict(_NOTHING), hashlib.sha256()
    return state, digest


def read_windows(
    file: Path, tokenizer: PreTrainedTokenizerBase, *, tokens: int, bos: bool, most: int | None = None
) -> TokenFileWindows:
    """Maps a finished token file as windows.

    Args:
        file: written by `write_tokens`.
        tokenizer: the same tokenizer.
        tokens: window length T.
        bos: whether <bos> stands before each window.
        most: leave out what lies beyond this many windows.

    Raises:
        SinkscopeError: if there is less than one window, or no <bos>.
    """
    if bos and tokenizer.bos_token_id is None:
        raise RequestError("the tokenizer has no <bos> token: set bos to never")
    size = tokens - bos
    count = int(_state(file)["tokens"]) // size
    if most is not None:
        count = min(count, most)
    if not count:
        raise SinkscopeError(f"the text holds no window of {tokens} tokens: use fewer tokens or a longer text")
    flat = np.memmap(file, dtype=_dtype(len(tokenizer)), mode="r", shape=(count * size,))
    return TokenFileWindows(flat.reshape(count, size), tokenizer.bos_token_id if bos else None)


def document_count(file: Path) -> int:
    """How many documents a finished token file is made of."""
    return int(_state(file)["documents"])


def _state(file: Path) -> dict[str, Any]:
    note = file.with_suffix(".json")
    if not (note.is_file() and file.is_file()):
        return dict(_NOTHING)
    return check(read_sealed(note) or dict(_NOTHING), TokensNote, str(note)).model_dump()


def _dtype(vocabulary: int) -> "np.dtype[Any]":
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(documents, _DOCUMENTS)):
        yield batch


def _ids(documents: list[Document], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """The ids of documents in stretches, <eos> behind each document; short ones are tokenized side by side."""
    starts = [document.start(_SHORT + 1) for document in documents]
    short = [text for text in starts if len(text) <= _SHORT]
    special = documents[0].special_tokens  # all of one source, or none
    made = iter(batch_token_ids(tokenizer, short, special_tokens=special) if short else ())
    for document, text in zip(documents, starts, strict=True):
        if len(text) <= _SHORT:
            yield next(made)
        else:
            yield from id_stretches(document, tokenizer)
        yield [tokenizer.eos_token_id]
