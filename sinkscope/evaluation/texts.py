"""The documents whose perplexity is measured, with what normalizes it: their tokens, words and bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.text.documents import Document
from sinkscope.text.packing import adds_bos
from sinkscope.text.tokenizing import token_ids


@dataclass(frozen=True)
class Text:
    """A document to score.

    Attributes:
        name: its name in the source.
        text: what is scored.
        ids: its token ids, without special tokens.
    """

    name: str
    text: str
    ids: list[int]

    @property
    def words(self) -> int:
        """Whitespace-separated words."""
        return len(self.text.split())

    @property
    def size(self) -> int:
        """Bytes in UTF-8."""
        return len(self.text.encode("utf-8"))


def read_texts(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, *, count: int, characters: int
) -> list[Text]:
    """Reads the first documents of a source.

    Args:
        documents: the source, read only as far as needed.
        tokenizer: the model's.
        count: how many documents; fewer are taken where the source ends.
        characters: each is cut after this many characters, at the last blank before.
    """
    texts: list[Text] = []
    for document in documents:
        text = cut(document.start(characters + 1), characters)
        ids = token_ids(tokenizer, text, special_tokens=document.special_tokens)
        if not ids:
            continue
        texts.append(Text(document.name, text, ids))
        if len(texts) == count:
            break
    if not texts:
        raise SinkscopeError("there is no text to score: name another `data`")
    return texts


def cut(text: str, characters: int) -> str:
    """The text, cut before the last blank that leaves at most `characters`; inside a word where there is none."""
    if len(text) <= characters:
        return text
    kept = text[: characters + 1]
    words = kept.rsplit(maxsplit=1)
    return words[0] if len(words) > 1 and not kept[-1].isspace() else text[:characters].rstrip()


def prefix_token(tokenizer: PreTrainedTokenizerBase, bos: str) -> int:
    """The token before a document, from which its first token is predicted.

    Args:
        tokenizer: the model's.
        bos: `always` for <bos>, `never` for <eos>, behind which documents begin in packed training text; `auto` for
            <bos> where the tokenizer puts one before a text by itself, else <eos>, else <bos>.

    Raises:
        SinkscopeError: if the tokenizer lacks that token.
    """
    first, last = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos == "always":
        chosen, lacking = first, "has no <bos> token: use `bos=never`"
    elif bos == "never":
        chosen, lacking = last, "has no <eos> token to put before a document: use `bos=always`"
    else:
        chosen = first if adds_bos(tokenizer) or last is None else last
        lacking = "has neither <bos> nor <eos>, one of which has to stand before a document for perplexity"
    if chosen is None:
        raise RequestError(f"the tokenizer {lacking}")
    return int(chosen)


def check_vocabulary(model: PreTrainedModel, sequences: Iterable[list[int]]) -> None:
    """Refuses token ids that a model has no embedding for.

    Raises:
        SinkscopeError: if there are any.
    """
    vocabulary = len(cast("nn.Embedding", model.get_input_embeddings()).weight)
    if any(ids and max(ids) >= vocabulary for ids in sequences):
        raise SinkscopeError(f"the text holds token ids outside the model's {vocabulary} embeddings: wrong tokenizer?")
