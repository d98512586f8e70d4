"""The tokenizer of a GGUF file, from the file alone: whatever tokenizer lies beside it is another file's.

A byte-level tokenizer splits text before it merges bytes, and a file names how (`tokenizer.ggml.pre`). transformers
rebuilds some of these ways and takes every other for GPT-2's. The one that sets each digit apart is rebuilt here: it
is that of SmolLM2, and where numbers follow several blanks its tokens are others than GPT-2's.
"""

import tempfile
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sinkscope.compat.gguf_reading import quickly, rebuilds_split
from sinkscope.errors import SinkscopeError, first_line
from sinkscope.loading.gguf_header import read_header
from sinkscope.terminal import logger

_log = logger(__name__)
_KIND, _SPLIT, _TOKENS = "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens"
_BYTE_LEVEL = "gpt2"
_DIGITS_APART = frozenset({"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"})


def gguf_tokenizer(path: Path, name: str) -> PreTrainedTokenizerBase:
    """Has transformers make the tokenizer that a GGUF file describes.

    Where it does not know how the tokenizer split its text, a warning says so: the tokens are then not quite those that
    the model was trained on.

    Args:
        path: the file.
        name: the model as the user named it.

    Raises:
        SinkscopeError: if the file has none, or one of a kind that transformers cannot read.
    """
    facts = read_header(path, name).facts
    refuse_without_tokenizer(path, name)
    kind, split = facts.get(_KIND), facts.get(_SPLIT)
    failed = f"transformers cannot read the tokenizer of {name}, which is of kind '{kind}'"
    try:
        with quickly(), tempfile.TemporaryDirectory(prefix="sinkscope-") as empty:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                empty, gguf_file=str(path.absolute()), local_files_only=True
            )
    except Exception as error:  # the tokenizers library knows no narrower class: it raises bare Exception
        raise SinkscopeError(f"{failed} ({first_line(error)})") from error
    if not tokenizer("attention", add_special_tokens=False)["input_ids"]:
        raise SinkscopeError(failed)
    tokenizer.name_or_path = name
    if kind == _BYTE_LEVEL and split in _DIGITS_APART:
        _set_digits_apart(tokenizer)
    elif kind == _BYTE_LEVEL and split is not None and not rebuilds_split(split):
        _log.warning("%s: text is split before its merges as GPT-2 does, not as '%s': tokens may differ", name, split)
    return tokenizer


def _set_digits_apart(tokenizer: PreTrainedTokenizerBase) -> None:
    """Splits off every digit before the text is split as GPT-2 splits it."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, gpt2])


def refuse_without_tokenizer(path: Path, name: str) -> None:
    """Refuses a GGUF file without a vocabulary.

    Args:
        path: the file.
        name: the model as the user named it.

    Raises:
        SinkscopeError: if it has none.
    """
    if _TOKENS not in read_header(path, name).facts:
        raise SinkscopeError(f"{name} holds no tokenizer: take a GGUF file with a vocabulary")
