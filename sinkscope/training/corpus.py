"""What a training reads: a tokenizer, windows to train on, and windows to validate on.

The main process prepares them on disk and the others read what is there, so that no process sees another text. Which
windows form the batch of a step is a pure function of (seed, step), and each process takes its share of that batch: the
order of the data does not depend on how many processes there are, nor on whether a run was interrupted.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from filelock import FileLock
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.files.beside import remove_leftovers
from sinkscope.files.failures import explained_failures
from sinkscope.files.sealed import DamagedError, check_hashes, content_hash, hashes, read_sealed, write_sealed
from sinkscope.files.whole import building_folder
from sinkscope.loading.load import load_tokenizer
from sinkscope.terminal import logger
from sinkscope.text.content import text_sha256
from sinkscope.text.documents import Document
from sinkscope.text.packing import adds_bos
from sinkscope.text.sources import open_text
from sinkscope.training.recipe import DataConfig, TokenizerConfig
from sinkscope.training.tokenizer import train_tokenizer
from sinkscope.training.tokens import TokenFileWindows, document_count, read_windows, write_tokens

_log = logger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Windows to train on, windows to validate on [N, T], and the tokenizer that made them."""

    tokenizer: PreTrainedTokenizerBase
    train: TokenFileWindows
    valid: Tensor


def prepare_corpus(
    data: DataConfig,
    tokenizer: TokenizerConfig | PreTrainedTokenizerBase,
    folder: Path,
    accelerator: Accelerator,
    *,
    windows: int,
    text: str | None = None,
) -> Corpus:
    """Reads the documents, holds some out, trains the tokenizer on the rest if asked to, and packs both parts.

    Args:
        data: the text.
        tokenizer: which tokenizer, or the tokenizer itself.
        folder: where tokenized text is kept; runs that share it and their text share the work.
        accelerator: tells the main process from the others.
        windows: how many training windows the run can use; no more of the text is read.
        text: `hash_of_text`, where it is known already.

    Raises:
        SinkscopeError: for text that cannot be read, or too little of it.
    """
    source = tokenizer if isinstance(tokenizer, TokenizerConfig) else {"vocabulary": hash_of(tokenizer)}
    made_by = source if isinstance(source, dict) else asdict(source)
    folder = folder / content_hash([asdict(data), text or hash_of_text(data), made_by, windows])[:16]
    with explained_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
    train_file, valid_file = folder / "train.bin", folder / "valid.bin"
    # The lock keeps apart runs that share the folder, the context the processes of one run.
    with accelerator.main_process_first(), FileLock(folder / ".lock"):
        remove_leftovers(folder)
        if isinstance(tokenizer, TokenizerConfig):
            tokenizer = _tokenizer(tokenizer, data, folder / "tokenizer")
        bos = adds_bos(tokenizer) if data.bos == "auto" else data.bos == "always"
        size = data.tokens - bos
        write_tokens(_documents(data, valid=True), tokenizer, valid_file, limit=data.valid_sequences * size)
        write_tokens(_documents(data, valid=False), tokenizer, train_file, limit=windows * size)
    if data.valid_split is None and not document_count(train_file):
        raise SinkscopeError(
            f"{data.source} is a single document, and one of {data.holdout} is held out, so that none is left to train "
            "on: use a folder of files, rows of a .jsonl or .parquet file, or a data set with a split to validate on "
            "(valid_split)"
        )
    train = read_windows(train_file, tokenizer, tokens=data.tokens, bos=bos, most=windows)
    valid = read_windows(valid_file, tokenizer, tokens=data.tokens, bos=bos, most=data.valid_sequences)
    if len(valid) < data.valid_sequences:
        raise SinkscopeError(
            f"the held-out text holds {len(valid)} windows of {data.tokens} tokens, fewer than the "
            f"{data.valid_sequences} asked for (valid_sequences): ask for fewer, or use more text"
        )
    return Corpus(tokenizer, train, valid[torch.arange(len(valid))])


def batch_indices(step: int, batch: int, windows: int, seed: int) -> Tensor:
    """Which windows form the batch of a step.

    Each epoch is a permutation drawn from (seed, epoch); batches run through the epochs without a gap.
    """
    positions = torch.arange(step * batch, (step + 1) * batch)
    epochs = positions // windows
    orders = {epoch: _epoch_order(epoch, windows, seed) for epoch in sorted(set(epochs.tolist()))}
    return torch.stack([orders[int(e)][p % windows] for e, p in zip(epochs, positions, strict=True)])


def hash_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of a tokenizer's vocabulary and special tokens."""
    content = json.dumps([tokenizer.get_vocab(), tokenizer.special_tokens_map], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


@lru_cache(maxsize=2)  # a batch reaches over two epochs at most
def _epoch_order(epoch: int, windows: int, seed: int) -> Tensor:
    return torch.randperm(windows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def hash_of_text(data: DataConfig) -> str:
    """A hash of the whole text that a training is to read."""
    splits = [None] if data.valid_split is None else [None, data.valid_split]
    return content_hash([text_sha256(data.text(split)) for split in splits])


def _documents(data: DataConfig, *, valid: bool) -> Iterator[Document]:
    documents = open_text(data.text(data.valid_split if valid else None))
    if data.valid_split is not None:
        yield from documents
        return
    for number, document in enumerate(documents):
        if (number % data.holdout == 0) is valid:
            yield document


def _tokenizer(config: TokenizerConfig, data: DataConfig, folder: Path) -> PreTrainedTokenizerBase:
    if config.name is not None:
        return load_tokenizer(config.name)
    assert config.vocab_size is not None  # noqa: S101  (a recipe gives one of the two)
    if not _is_whole(folder):
        texts = (document.text for document in islice(_documents(data, valid=False), config.documents))
        trained = train_tokenizer(texts, config.vocab_size, data.tokens)
        with explained_failures(folder):
            with building_folder(folder) as building:
                trained.save_pretrained(building)
            write_sealed(_note(folder), hashes(folder))
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer


def _note(folder: Path) -> Path:
    return folder.with_suffix(".json")


def _is_whole(folder: Path) -> bool:
    """Whether a trained tokenizer is there and what was written; a damaged one is named."""
    try:
        known = read_sealed(_note(folder)) if folder.is_dir() else None
        if known is None:
            return False
        check_hashes(folder, known)
    except DamagedError as error:
        _log.warning("%s: the tokenizer is trained again", error)
        return False
    return True
