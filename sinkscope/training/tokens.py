"""Tokenized text on disk: made once, read by every process and every resumed run.

A training text can be larger than memory, and tokenizing it can take longer than a machine stays up. So tokens are
appended to a flat file, a few documents at a time, and a small JSON file beside it says how far that got; it is
replaced only after the tokens are down. Whatever was written beyond it is cut off by the next start. Reading maps the
file, so that any window is one seek away and the order of training does not depend on how the text was read.

Documents are joined with <eos> after each and cut into windows as in `sinkscope.text.packing`.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sinkscope.documents.read import read
from sinkscope.documents.state import TokensNote
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import write_json
from sinkscope.text.documents import Document

_DOCUMENTS = 256  # per write


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
    state = _state(file)
    if state["complete"]:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    dtype = _dtype(len(tokenizer))
    with file.open("r+b" if file.exists() else "w+b") as out:
        out.truncate(state["tokens"] * dtype.itemsize)
        out.seek(0, 2)
        for texts in _batches(islice(documents, state["documents"], None)):
            stream: list[int] = []
            for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
                stream += [*ids, tokenizer.eos_token_id]
            out.write(np.asarray(stream, dtype=dtype).tobytes())
            out.flush()
            os.fsync(out.fileno())  # before the note that counts them
            state = {**state, "tokens": state["tokens"] + len(stream), "documents": state["documents"] + len(texts)}
            write_json(file.with_suffix(".json"), state)
            if limit is not None and state["tokens"] >= limit:
                break
    write_json(file.with_suffix(".json"), {**state, "complete": True})


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


def _state(file: Path) -> dict[str, Any]:
    note = file.with_suffix(".json")
    if not (note.is_file() and file.is_file()):
        return {"tokens": 0, "documents": 0, "complete": False}
    return read(note, TokensNote).model_dump()


def _dtype(vocabulary: int) -> "np.dtype[Any]":
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


def _batches(documents: Iterator[Document]) -> Iterator[list[str]]:
    while texts := [document.text for document in islice(documents, _DOCUMENTS)]:
        yield texts
