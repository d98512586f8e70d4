"""Text to token ids: what a text spells is text.

A manual that writes `<|endoftext|>` or `<bos>` speaks of a control token and contains none. Tokenizers take the
spelling for the token all the same, which then sits in the middle of a window, and draws attention as no text would. So
a text is tokenized as plain text, unless its source says that control tokens are written in it.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str, *, special_tokens: bool = False) -> list[int]:
    """The token ids of a text, without any that a tokenizer puts around it.

    Args:
        tokenizer: the model's.
        text: what is read.
        special_tokens: whether the spelling of a special token is that token.
    """
    return batch_token_ids(tokenizer, [text], special_tokens=special_tokens)[0]


def batch_token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, special_tokens: bool = False
) -> list[list[int]]:
    """The same for several texts."""
    split = not special_tokens
    if split and not tokenizer.is_fast:  # these would split added tokens that are no control tokens too
        control = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        split = any(token in text for token in control for text in texts)
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False, split_special_tokens=split)
    return [list(ids) for ids in encoded["input_ids"]]
