"""Needles in a haystack, after three tasks of RULER (Hsieh et al., COLM 2024).

    single_2     one needle: a seven-digit number under a key of two words          niah_single_2
    single_3     one needle: a UUID under such a key                                niah_single_3
    multikey_1   as single_2, with three more needles of the same form and other    niah_multikey_1
                 keys, at random depths

A prompt is an introduction, the haystack with its needles, and a question that ends where the value has to follow, so
that a base model can answer by continuing. The needle that is asked for stands at a given depth. The wording is this
project's own: scores compare between models, not digit by digit with RULER's.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.evaluation.haystack import Haystack, hide, place
from sinkscope.evaluation.needle_words import ADJECTIVES, NOUNS
from sinkscope.text.tokenizing import token_ids

SLACK = 16  # tokens that an answer may be longer than its value


@dataclass(frozen=True)
class Variant:
    """A kind of needle.

    Attributes:
        thing: what a value is called.
        identifier: values are UUIDs rather than numbers.
        distractors: further needles of the same form.
    """

    thing: str
    identifier: bool
    distractors: int


VARIANTS = {
    "single_2": Variant("number", identifier=False, distractors=0),
    "single_3": Variant("identifier", identifier=True, distractors=0),
    "multikey_1": Variant("number", identifier=False, distractors=3),
}


@dataclass(frozen=True)
class Needle:
    """A key and its value."""

    key: str
    value: str


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Attributes:
        ids: token ids.
        needle: the one that is asked for.
        position: token at which its sentence starts.
        new_tokens: how many tokens to generate.
    """

    ids: list[int]
    needle: Needle
    position: int
    new_tokens: int


def make_prompt(
    variant: str,
    haystack: Haystack,
    tokenizer: PreTrainedTokenizerBase,
    *,
    length: int,
    depth: float,
    seed: tuple[int, ...],
    prefix: list[int],
    new_tokens: int | None = None,
) -> Prompt:
    """Builds a prompt whose tokens, with those of the answer, fill a context as far as whole words allow.

    Args:
        variant: a key of `VARIANTS`.
        haystack: the text.
        tokenizer: the model's.
        length: context length in tokens, the answer included.
        depth: place of the needle, 0 to 1.
        seed: of keys, values, distractors, and of the part of the text that is taken.
        prefix: token ids before the text, as <bos>.
        new_tokens: tokens of the answer; None takes those of the value and `SLACK`.

    Raises:
        SinkscopeError: if the length has no room for the question, or the haystack is shorter than the length.
    """
    random = np.random.default_rng(seed)
    kind = VARIANTS[variant]
    needles = _needles(kind, random)
    depths = [depth, *random.uniform(size=kind.distractors)]
    answer = new_tokens or _count(tokenizer, f" {needles[0].value}") + SLACK
    room = length - answer - len(prefix)
    start = int(random.integers(len(haystack.words) - min(len(haystack.words), max(room, 0)) + 1))

    def built(count: int) -> tuple[str, int]:
        words = haystack.part(start, count)
        hidden = [(place(words, at), sentence(kind, needle)) for at, needle in zip(depths, needles, strict=True)]
        text, starts = hide(words, hidden)
        opening = f"{introduction(kind)}\n\n"
        return f"{opening}{text}\n\n{question(kind, needles[0])}", len(opening) + starts[0]

    least = _count(tokenizer, built(0)[0])
    if least > room:
        raise RequestError(
            f"`lengths={length}` is too short for {variant}: question and answer alone take "
            f"{least + answer + len(prefix)} tokens"
        )
    most = min(room, len(haystack.words) - start)
    count = largest_fitting(most, room, lambda count: _count(tokenizer, built(count)[0]))
    text, at = built(count)
    ids = token_ids(tokenizer, text)
    if count == len(haystack.words) and len(ids) < room:  # all of it was taken, and there is room left
        raise SinkscopeError(
            f"the haystack's {count} words do not fill a context of {length} tokens: name a longer `haystack`, or "
            "shorter `lengths`"
        )
    return Prompt([*prefix, *ids], needles[0], len(prefix) + _count(tokenizer, text[:at].rstrip()), answer)


def contains_value(value: str, generated: str) -> bool:
    """Whether an answer counts: it contains the value, whatever the case (RULER's string match)."""
    return value.lower() in generated.lower()


def _needles(kind: Variant, random: np.random.Generator) -> list[Needle]:
    """The needle that is asked for, then the distractors, all with different keys."""
    picked = random.choice(len(ADJECTIVES) * len(NOUNS), size=1 + kind.distractors, replace=False)
    keys = [f"{ADJECTIVES[p // len(NOUNS)]} {NOUNS[p % len(NOUNS)]}" for p in picked]
    return [Needle(key, _value(kind, random)) for key in keys]


def _value(kind: Variant, random: np.random.Generator) -> str:
    if kind.identifier:
        return str(uuid.UUID(bytes=random.bytes(16), version=4))
    return str(random.integers(1_000_000, 10_000_000))


def introduction(kind: Variant) -> str:
    """What stands before the haystack."""
    return (
        f"The text below mentions, in passing, the {kind.thing} of something. Read it with care: a question about that "
        f"{kind.thing} follows at the end."
    )


def sentence(kind: Variant, needle: Needle) -> str:
    """What is hidden in the haystack."""
    return f"The {kind.thing} of the {needle.key} is {needle.value}."


def question(kind: Variant, needle: Needle) -> str:
    """What stands after the haystack; the value follows."""
    return (
        f"Question: what, according to the text, is the {kind.thing} of the {needle.key}?\n"
        f"Answer: The {kind.thing} of the {needle.key} is"
    )


def _count(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    return len(token_ids(tokenizer, text))


def largest_fitting(most: int, room: int, size: Callable[[int], int]) -> int:
    """The largest count from 0 to `most` whose size fits the room; 0 is known to fit.

    Each size is a long text to be tokenized, so few are asked for. Sizes grow with the count about evenly: a step along
    the mean rate nearly hits. Every second step halves what is left, so that uneven sizes cost little.
    """
    low, high, taken = 0, most + 1, size(0)
    rate, halve = 1.0, False
    while high - low > 1:
        step = (high - low) // 2 if halve else int((room - taken) / rate)
        guess = min(max(low + step, low + 1), high - 1)
        tokens = size(guess)
        rate, halve = max(tokens / guess, 1e-9), not halve
        if tokens <= room:
            low, taken = guess, tokens
        else:
            high = guess
    return low
