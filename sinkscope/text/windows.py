"""The windows that a given model reads: packing whose sizes and <bos> follow from the model and its tokenizer."""

from collections.abc import Iterable

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError
from sinkscope.text.documents import Document
from sinkscope.text.packing import Packed, adds_bos, pack

LONGEST_DEFAULT = 2048


def pack_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    documents: Iterable[Document],
    sequences: int,
    tokens: int | None,
    bos: str,
) -> Packed:
    """Packs documents into windows.

    Args:
        model: whose context bounds the windows.
        tokenizer: the model's; None is refused.
        documents: the text.
        sequences: N, the number of windows.
        tokens: T, the length of each; by default the model's context, at most `LONGEST_DEFAULT`.
        bos: `always` or `never` force or forbid a <bos> at the start of each window; `auto` follows the tokenizer.

    Raises:
        SinkscopeError: for impossible sizes, or a text that is too short for them.
    """
    if tokenizer is None:
        raise RequestError("a loaded model needs its tokenizer, or input_ids, to be analyzed")
    if sequences < 1:
        raise RequestError("there is no sequence to measure: `sequences` must be at least 1")
    if bos not in ("auto", "always", "never"):
        raise RequestError(f"`bos` is auto, always or never, not {bos}")
    context = context_of(model)
    if tokens is not None and tokens > context:
        raise RequestError(f"{tokens} tokens exceed the model's context of {context}: use fewer `tokens`")
    return pack(
        documents,
        tokenizer,
        tokens=tokens if tokens is not None else default_tokens(model),
        bos=adds_bos(tokenizer) if bos == "auto" else bos == "always",
        sequences=sequences,
    )


def context_of(model: PreTrainedModel) -> int:
    """The longest window that a model can read; `LONGEST_DEFAULT` where its configuration names none."""
    return context_in(model.config)


def context_in(config: PretrainedConfig) -> int:
    """The same from a configuration."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", None) or LONGEST_DEFAULT)


def default_tokens(model: PreTrainedModel) -> int:
    """The length of a window where none is asked for: the model's context, at most `LONGEST_DEFAULT`."""
    return min(context_of(model), LONGEST_DEFAULT)
