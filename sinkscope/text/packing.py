"""Documents to equal windows of token ids.

Documents are joined with <eos> after each; sequences are consecutive windows of T tokens from the start, without
overlap, and the tail is dropped. With a forced <bos> each window is <bos> and T-1 tokens of text (the paper,
arXiv:2603.17771, packs without). Packed windows attend across documents unless the caller isolates them with
`document_ids`.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.text.documents import Document
from sinkscope.text.stretches import id_stretches


@dataclass(frozen=True)
class Packed:
    """Windows of text.

    Attributes:
        input_ids: token ids, int64 [N, T].
        document_ids: running number of the document that each token belongs to, int64 [N, T]. A forced <bos> belongs
            to the document that follows it.
        bos: whether every window starts with a forced <bos>.
        sha256: hash of `input_ids` in little-endian int64.
    """

    input_ids: Tensor
    document_ids: Tensor
    bos: bool
    sha256: str


def adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer puts its <bos> before a text by itself: the meaning of `bos=auto`."""
    if tokenizer.bos_token_id is None:
        return False
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def pack(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    *,
    tokens: int,
    bos: bool,
    sequences: int | None = None,
    least: int | None = None,
) -> Packed:
    """Packs documents into windows.

    Args:
        documents: texts, read only as far as needed.
        tokenizer: must have an <eos>, and a <bos> where `bos` is true.
        tokens: window length T.
        bos: start every window with <bos>.
        sequences: stop after this many windows; None takes all.
        least: how many must come out; None is `sequences`, or one.

    Raises:
        SinkscopeError: when a special token is missing or the text is shorter than one window; when fewer windows
            than asked for come out.
    """
    if tokenizer.eos_token_id is None:
        raise SinkscopeError("the tokenizer has no <eos> token, which packing puts between documents")
    if bos and tokenizer.bos_token_id is None:
        raise RequestError("the tokenizer has no <bos> token: use `bos=never`")
    if tokens < 2:
        raise RequestError("a sequence needs at least 2 tokens, one to predict")
    body = tokens - 1 if bos else tokens
    enough = math.inf if sequences is None else sequences * body
    stream: list[int] = []
    owners: list[int] = []
    for number, document in enumerate(documents):
        for ids in chain(id_stretches(document, tokenizer), [[tokenizer.eos_token_id]]):
            stream += ids
            owners += [number] * len(ids)
            if len(stream) >= enough:
                break
        if len(stream) >= enough:
            break
    count = len(stream) // body if sequences is None else min(sequences, len(stream) // body)
    wanted = least or sequences or 1
    if count < wanted:
        raise SinkscopeError(
            f"the text holds {len(stream)} tokens, too few for {wanted} sequence(s) of {tokens}: "
            "use fewer `sequences` or `tokens`, or a longer text"
        )
    input_ids = torch.tensor(stream[: count * body], dtype=torch.int64).view(count, body)
    document_ids = torch.tensor(owners[: count * body], dtype=torch.int64).view(count, body)
    if bos:
        first = torch.full((count, 1), tokenizer.bos_token_id, dtype=torch.int64)
        input_ids = torch.cat([first, input_ids], dim=1)
        document_ids = torch.cat([document_ids[:, :1], document_ids], dim=1)
    return Packed(input_ids, document_ids, bos, windows_sha256(input_ids))


def windows_sha256(input_ids: Tensor) -> str:
    """SHA-256 of windows of token ids [N, T] in little-endian int64: the same windows, the same hash."""
    return hashlib.sha256(input_ids.cpu().numpy().astype("<i8").tobytes()).hexdigest()
