"""The windows that a given model reads: packing whose sizes and <bos> follow from the model and its tokenizer."""

from collections.abc import Iterable

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError
from sinkscope.models.shape import context_of, default_tokens
from sinkscope.text.documents import Document
from sinkscope.text.packing import Packed, adds_bos, pack


def pack_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    documents: Iterable[Document],
    sequences: int,
    tokens: int | None,
    bos: str,
    *,
    least: int | None = None,
) -> Packed:
    """Packs documents into windows.

    Args:
        model: whose context bounds the windows.
        tokenizer: the model's; None is refused.
        documents: the text.
        sequences: N, the number of windows.
        tokens: T, the length of each; by default that of `models.shape.default_tokens`.
        bos: `always` or `never` force or forbid a <bos> at the start of each window; `auto` follows the tokenizer.
        least: how many windows must come out; None is all.

    Raises:
        SinkscopeError: for impossible sizes, or a text that is too short for them.
    """
    if tokenizer is None:
        raise RequestError("a loaded model needs its tokenizer, or input_ids, to be analyzed")
    if sequences < 1:
        raise RequestError("there is no sequence to measure: `sequences` must be at least 1")
    if bos not in ("auto", "always", "never"):
        raise RequestError(f"`bos` is auto, always or never, not {bos}")
    check_context(model, tokens)
    return pack(
        documents,
        tokenizer,
        tokens=tokens if tokens is not None else default_tokens(model.config),
        bos=adds_bos(tokenizer) if bos == "auto" else bos == "always",
        sequences=sequences,
        least=least,
    )


def check_context(model: PreTrainedModel, tokens: int | None) -> None:
    """Refuses windows that are longer than a model's context.

    Raises:
        RequestError: if they are.
    """
    context = context_of(model.config)
    if tokens is not None and context is not None and tokens > context:
        raise RequestError(f"{tokens} tokens exceed the model's context of {context}: use fewer `tokens`")
