"""What transformers makes of a GGUF file beyond what it promises.

Needed: weights that are unpacked while they are read, whatever the hardware: releases that can leave them packed take
a `GgufConfig` that says so, and older ones, which always unpack, do not know the class. And which ways of splitting
text before the tokenizer's merges are rebuilt: a file names its own (`tokenizer.ggml.pre`), and an unknown one is
taken for GPT-2's without a word, so that tokens may be others than the model was trained on. And that a file's
configuration, tokenizer and weights are each read through the package gguf, by names that are looked up in it when they
are called: its reader, which `gguf_reader` makes fast, and its table of tensors' names, which is the same for every
module of a model, and is made anew for each of them.

Public alternative: for the weights, `GgufConfig` itself, once every release that is supported has it; for the others,
none.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import transformers

_SPLITS = "transformers.integrations.gguf.gguf_tokenizer_mapping", "GGUF_PRE_TOKENIZER_SPLITS"
_AS_GPT2 = frozenset({"default", "gpt-2", "gpt2"})


def unpacked() -> dict[str, Any]:
    """Arguments of `from_pretrained` that have a GGUF file's weights unpacked."""
    configuration: Any = getattr(transformers, "GgufConfig", None)
    return {} if configuration is None else {"quantization_config": configuration(dequantize=True)}


def rebuilds_split(kind: str) -> bool:
    """Whether text is split as a byte-level tokenizer of this kind (`tokenizer.ggml.pre`) was trained to."""
    module, name = _SPLITS
    try:
        known = getattr(importlib.import_module(module), name)
    except ImportError:  # a release that does not look at the kind
        known = {}
    return kind in _AS_GPT2 or kind in known


@contextmanager
def quickly() -> Iterator[None]:
    """While open, the package gguf, which must be installed, reads as before and takes seconds instead of minutes."""
    import gguf

    from sinkscope.compat.gguf_reader import Reader

    package: Any = gguf
    usual = package.GGUFReader, package.get_tensor_name_map
    package.GGUFReader, package.get_tensor_name_map = Reader, lru_cache(maxsize=1)(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        package.GGUFReader, package.get_tensor_name_map = usual
