"""Losses and divergences of the same tokens against plain sums; and what is compared where a first token is gone."""

import numpy as np
import pytest
import torch
from families import tiny
from torch import Tensor

from sinkscope.ablation import effects
from sinkscope.ablation.scores import Scores, Untouched
from sinkscope.ablation.steps.first_token import with_first, without
from sinkscope.ablation.steps.step import Variation
from sinkscope.interventions.attention import values_zeroed
from sinkscope.passes import output_head

T = 21


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(3, 258, (5, T), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _log_p(model: torch.nn.Module, ids: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.double().log_softmax(-1)


@pytest.mark.parametrize("name", ["llama_gqa", "gemma2", "gpt_neox", "opt"])
def test_losses_and_divergences_are_plain_sums(name: str, ids: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_head, "CHUNK", 258 * 2 * 7)  # chunks of 7 tokens of two windows
    model = tiny(name)
    before = Untouched(model, ids, 2)
    exact = _log_p(model, ids)
    with values_zeroed(model, (0,)):
        other = _log_p(model, ids)
    found = before.against(Variation(lambda: values_zeroed(model, (0,))), "")
    assert before.edges[0] == 1
    assert before.edges[-1] == T
    for s, (start, stop) in enumerate(zip(before.edges[:-1], before.edges[1:], strict=True)):
        for n in range(len(ids)):
            targets = range(start, stop)
            loss = -sum(float(other[n, t - 1, ids[n, t]]) for t in targets)
            plain = -sum(float(exact[n, t - 1, ids[n, t]]) for t in targets)
            kl = sum(float((exact[n, t - 1].exp() * (exact[n, t - 1] - other[n, t - 1])).sum()) for t in targets)
            assert found.loss[n, s] == pytest.approx(loss, rel=1e-4, abs=1e-4)
            assert found.exact[n, s] == pytest.approx(plain, rel=1e-4, abs=1e-4)
            assert found.kl[n, s] == pytest.approx(kl, rel=1e-3, abs=1e-4)
            assert found.targets[n, s] == len(targets)
    same = before.against(Variation(), "")
    np.testing.assert_allclose(same.loss, same.exact, rtol=1e-5)
    assert same.kl.max() < 1e-4
    assert before.scores().targets.sum() == len(ids) * (T - 1)


@pytest.mark.parametrize("gone", [0, 9])
def test_a_token_is_compared_where_its_predecessor_stayed(ids: Tensor, gone: int) -> None:
    model = tiny("llama_gqa")
    before = Untouched(model, ids, 1)
    found = before.against(Variation(read=lambda ids: without(ids, gone)), "")
    shorter = torch.cat([ids[:, :gone], ids[:, gone + 1 :]], dim=1)
    exact, other = _log_p(model, ids), _log_p(model, shorter)
    targets = [t for t in range(1, T) if t not in (gone, gone + 1)]
    moved = {t: t if t < gone else t - 1 for t in targets}
    for n in range(len(ids)):
        loss = -sum(float(other[n, moved[t] - 1, ids[n, t]]) for t in targets)
        plain = -sum(float(exact[n, t - 1, ids[n, t]]) for t in targets)
        assert found.loss[n].sum() == pytest.approx(loss, rel=1e-4)
        assert found.exact[n].sum() == pytest.approx(plain, rel=1e-4)
        assert found.targets[n].sum() == len(targets)


def test_a_token_in_front_moves_all_others(ids: Tensor) -> None:
    model = tiny("llama_gqa")
    found = Untouched(model, ids, 2).against(Variation(read=lambda ids: with_first(ids, torch.zeros(len(ids)))), "")
    other = _log_p(model, torch.cat([torch.zeros(len(ids), 1, dtype=torch.long), ids[:, :-1]], dim=1))
    loss = -sum(float(other[0, t, ids[0, t]]) for t in range(1, T - 1))
    assert found.loss[0].sum() == pytest.approx(loss, rel=1e-4)
    assert found.targets[0].sum() == T - 2


def test_sums_survive_json() -> None:
    scores = Scores(*(np.random.default_rng(n).normal(size=(2, 3)) for n in range(4)))
    again = Scores.from_json(scores.as_json())
    assert all(np.array_equal(getattr(scores, name), getattr(again, name)) for name in scores.as_json())


def _made(changes: list[float], targets: float = 10.0) -> Scores:
    exact = np.arange(20.0, 20.0 + len(changes))[:, None]
    return Scores(exact + targets * np.array(changes)[:, None], exact, exact * 0, np.full_like(exact, targets))


def test_changes_are_paired_and_controls_cover_their_draws() -> None:
    own = _made([0.5, 0.51, 0.49, 0.5, 0.5])
    change = effects.change(own, 0)
    assert change.value == pytest.approx(0.5)
    assert 0.48 < change.low < 0.5 < change.high < 0.52  # the texts' own spread, 0.1 per token and more, cancels
    assert effects.loss(own, 0).high - effects.loss(own, 0).low > 0.2
    one = [_made([0.1] * 5)]
    three = [_made([x] * 5) for x in (0.0, 0.1, 0.2)]
    assert effects.control_change(one, 0).high == pytest.approx(0.1)
    spread = effects.control_change(three, 0)
    assert spread.value == pytest.approx(0.1)
    assert spread.high - spread.value == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-4)  # Student's t of 2 freedoms
    excess = effects.excess(own, three, 0)
    assert excess.value == pytest.approx(0.4)
    assert excess.high - excess.value == pytest.approx(spread.high - spread.value, rel=0.01)


def test_words_are_those_of_compare() -> None:
    for ends, word in (
        ((0.1, 0.2), "worse"), ((0.01, 0.2), "worse, size unclear"), ((-0.01, 0.01), "unchanged"),
        ((-0.2, 0.2), "unclear"), ((-0.3, -0.1), "better"), ((float("nan"), float("nan")), "no interval"),
        ((5.0, 1e4), "worse"),
    ):  # fmt: skip
        assert effects.word(effects.Value(0.0, *ends), 1.05) == word
