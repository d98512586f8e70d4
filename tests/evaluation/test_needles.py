"""Prompts are what they claim to be, and needles are found by a model that copies and not by one that knows nothing."""

import re
import uuid
from typing import Any

import copier
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.haystack import Haystack
from sinkscope.evaluation.needle_words import ADJECTIVES, NOUNS
from sinkscope.evaluation.needles import VARIANTS, Prompt, contains_value, largest_fitting, make_prompt
from sinkscope.evaluation.retrieval import ask_needles, grid, plan_needles
from sinkscope.evaluation.settings import VARIANTS as NAMES
from sinkscope.evaluation.settings import EvaluationSettings
from sinkscope.intervals.wilson import wilson
from sinkscope.text.documents import Document
from sinkscope.vscale import attach_

MODEL, TOKENIZER = copier.copier()
TEXT = copier.haystack(3000)
HAYSTACK = Haystack(TEXT.split())
NEEDLE = re.compile(r"The (number|identifier) of the (\w+ \w+) is ([0-9a-f-]+)\.")


def prompt(variant: str, tokenizer: PreTrainedTokenizerBase = TOKENIZER, **changes: Any) -> Prompt:
    options = {"length": 300, "depth": 0.5, "seed": (0,), "prefix": [0], **changes}
    return make_prompt(variant, HAYSTACK, tokenizer, **options)


def ask(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: EvaluationSettings, lengths: tuple[int, ...],
    batch_size: int = 1, **options: Any,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    plan = plan_needles(model, tokenizer, [Document("text", TEXT)], settings, lengths, **options)
    return ask_needles(model, tokenizer, plan, batch_size=batch_size)


def hidden(text: str) -> list[tuple[str, str, str]]:
    return NEEDLE.findall(text.split("\n\n")[1])


def test_the_circuit_finds_its_needles() -> None:
    """A hundred of them are asked through the command line in tests/cli/test_evaluate.py."""
    tables = ask(MODEL, TOKENIZER, EvaluationSettings(depths=2, seeds=2), (220, 300), batch_size=4)
    needles, scores = tables["needles"], tables["needle_scores"]
    assert len(needles) == 24
    assert needles["found"].mean() >= 0.9
    assert set(needles["variant"]) == set(NAMES)
    for row in scores.itertuples():
        group = needles[(needles["variant"] == row.variant) & (needles["length"] == row.length)]
        assert row.needles == len(group) == 4
        assert row.score == np.mean([value in text for value, text in group[["expected", "generated"]].to_numpy()])
        assert (row.low, row.high) == wilson(int(group["found"].sum()), 4)


@pytest.mark.parametrize(("c", "share"), [(1e-6, 1.0), (1e6, 0.0)])
def test_v_scale_is_in_the_answers(c: float, share: float) -> None:
    """A small C leaves the values alone; a large one crushes them, and nothing is copied any more."""
    model = copier.copier()[0]
    layers, heads = model.config.num_hidden_layers, model.config.num_key_value_heads
    attach_(model, scale=[torch.full((heads,), c)] * layers)
    tables = ask(model, TOKENIZER, EvaluationSettings(variants=("single_2",), depths=2, seeds=2), (220,))
    assert tables["needle_scores"]["score"].item() == share


def test_a_random_model_finds_none() -> None:
    config = LlamaConfig(**{**MODEL.config.to_dict(), "intermediate_size": 32})
    settings = EvaluationSettings(depths=2, seeds=3, new_tokens=20)
    tables = ask(LlamaForCausalLM(config).eval(), TOKENIZER, settings, (220,))
    assert tables["needles"]["found"].sum() == 0
    assert tables["needle_scores"]["high"].max() < 0.5


@pytest.mark.parametrize("variant", NAMES)
@pytest.mark.parametrize("tokenizer", [TOKENIZER, tiny.tokenizer()], ids=["words", "bytes"])
def test_a_prompt_fills_its_context_and_asks_for_its_needle(variant: str, tokenizer: PreTrainedTokenizerBase) -> None:
    made = prompt(variant, tokenizer, length=1200)
    text = tokenizer.decode(made.ids[1:])
    longest_word = 12
    assert 1200 - longest_word < len(made.ids) + made.new_tokens <= 1200
    assert made.ids[0] == 0
    needles = hidden(text)
    assert len(needles) == 1 + VARIANTS[variant].distractors
    assert (made.needle.key, made.needle.value) in [(key, value) for _, key, value in needles]
    assert len({key for _, key, _ in needles}) == len({value for _, _, value in needles}) == len(needles)
    assert text.endswith(f"The {needles[0][0]} of the {made.needle.key} is")
    assert text.count(made.needle.value) == 1
    after = tokenizer.decode(made.ids[made.position :]).lstrip()
    assert after.startswith(f"The {needles[0][0]} of the {made.needle.key} is {made.needle.value}.")


def test_values_are_of_their_kind() -> None:
    assert re.fullmatch(r"[1-9]\d{6}", prompt("single_2").needle.value)
    assert uuid.UUID(prompt("single_3").needle.value).version == 4
    numbers = {value for _, _, value in hidden(TOKENIZER.decode(prompt("multikey_1", length=500).ids))}
    assert len(numbers) == 4
    assert all(re.fullmatch(r"[1-9]\d{6}", number) for number in numbers)


def test_depth_moves_the_needle() -> None:
    positions = [prompt("single_2", depth=depth, length=500).position for depth in grid(5)]
    first, last = positions[0], positions[-1]
    for depth, position in zip(grid(5), positions, strict=True):
        assert position == pytest.approx(first + depth * (last - first), abs=20)
    assert positions == sorted(positions)
    assert TOKENIZER.decode(prompt("single_2", depth=1.0).ids).split("\n\n")[1].endswith(".")
    assert grid(1) == [0.5]


def test_the_largest_count_that_fits_is_found_in_few_steps() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        sizes = np.cumsum(random.integers(1, random.integers(2, 40), 3000)) + random.integers(100)
        room = int(random.integers(sizes[0], sizes[-1] + 10))
        asked: list[int] = []

        def size(count: int, sizes: np.ndarray = sizes, asked: list[int] = asked) -> int:
            asked.append(count)
            return int(sizes[count])

        assert largest_fitting(len(sizes) - 1, room, size) == max(np.flatnonzero(sizes <= room))
        assert len(asked) < 2 * np.log2(len(sizes)) + 3
    assert largest_fitting(0, 5, lambda _: 5) == 0


def test_seeds() -> None:
    assert prompt("multikey_1") == prompt("multikey_1")
    different = {tuple(prompt("multikey_1", seed=(seed,)).ids) for seed in range(5)}
    assert len(different) == 5


def test_words_of_keys_are_different_and_single() -> None:
    for words in (ADJECTIVES, NOUNS):
        assert len(set(words)) == len(words)
        assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert tuple(VARIANTS) == NAMES


def test_answers_do_not_depend_on_the_batch_size() -> None:
    settings = EvaluationSettings(variants=NAMES[1:], depths=1, seeds=4, new_tokens=8)
    one, many = (ask(MODEL, TOKENIZER, settings, (220,), batch_size=size)["needles"] for size in (1, 3))
    assert one.equals(many)


def test_an_answer_counts_whatever_its_case() -> None:
    assert contains_value("3f2a", "so: 3F2A.")
    assert not contains_value("1234567", "123 4567")


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"length": 60}, "`lengths=60` is too short for single_2: question and answer alone take"),
    ({"length": 9000}, "the haystack's .* words do not fill a context of 9000 tokens: name a longer `haystack`"),
])  # fmt: skip
def test_prompts_that_cannot_be_made(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SinkscopeError, match=complaint):
        prompt("single_2", **changes)


def test_what_cannot_be_asked() -> None:
    with pytest.raises(SinkscopeError, match=r"513 tokens exceeds the model's context of 512.*`yarn=2`"):
        ask(MODEL, TOKENIZER, EvaluationSettings(), (256, 513))
    with pytest.raises(SinkscopeError, match="knows single_2, single_3, multikey_1 and none, not multivalue"):
        EvaluationSettings(variants=("single_2", "multivalue"))
    nameless = copier.copier()[1]
    nameless.bos_token = None
    with pytest.raises(SinkscopeError, match="no <bos>"):
        ask(MODEL, nameless, EvaluationSettings(), (256,), bos="always")


def test_a_tokenizer_without_eos_will_do() -> None:
    endless = copier.copier()[1]
    endless.eos_token = None
    settings = EvaluationSettings(variants=("single_2",), depths=1, seeds=2)
    tables = ask(MODEL, endless, settings, (220,))
    assert tables["needles"]["found"].all()
