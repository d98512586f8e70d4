"""What transformers makes of a GGUF file beyond what it promises.

Needed: weights that are unpacked while they are read, whatever the hardware: releases that can leave them packed take
a `GgufConfig` that says so, and older ones, which always unpack, do not know the class. And which ways of splitting
text before the tokenizer's merges are rebuilt: a file names its own (`tokenizer.ggml.pre`), and an unknown one is
taken for GPT-2's without a word, so that tokens may be others than the model was trained on.

Public alternative: for the weights, `GgufConfig` itself, once every release that is supported has it; for the
tokenizer, none.
"""

import importlib
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
