"""The grammar of mitigations, and several put on together."""

from dataclasses import replace
from typing import Any

import families
import pytest
import torch
from test_clip import calibrated
from test_exact import EXACT, IDS, logits, subject

from sinkscope.errors import RequestError
from sinkscope.methods.calibration import calibrate
from sinkscope.mitigations.clip import Clip
from sinkscope.mitigations.keep import Keep
from sinkscope.mitigations.prefix import Prefix, others, prefix_tokens, prefixed
from sinkscope.mitigations.registry import GRAMMAR, KINDS, Together, mitigation_of, mitigations_of
from sinkscope.mitigations.rotate import Rotate
from sinkscope.mitigations.smooth import Smooth
from sinkscope.names import MITIGATIONS
from sinkscope.passes.losses import loss_sums
from sinkscope.tables.builder import Rows

NAMES = {
    "smooth": Smooth("smooth", 0.5),
    "smooth-0.8": Smooth("smooth-0.8", 0.8),
    "smooth-search": Smooth("smooth-search", None),
    "rotate": Rotate("rotate"),
    "prefix": Prefix("prefix"),
    "clip": Clip("clip"),
    "clip-99.9": Clip("clip-99.9", 99.9),
    "keep": Keep("keep", 3),
    "keep-1": Keep("keep-1", 1),
}


def test_names_and_what_they_stand_for() -> None:
    assert {name: mitigation_of(name) for name in NAMES} == NAMES
    assert mitigation_of("none") is None
    assert list(mitigations_of(["none", "keep", "smooth"])) == ["keep", "smooth"]
    together = mitigation_of("keep+clip+prefix+rotate")
    assert isinstance(together, Together)
    assert [type(part) for part in together.parts] == [Rotate, Prefix, Clip, Keep]
    assert together.changes_model
    assert together.passes(2) == sum(part.passes(2) for part in together.parts)
    assert all(kind.name in GRAMMAR and kind.name in MITIGATIONS for kind in KINDS.values())


@pytest.mark.parametrize(
    "name",
    ["", "smoth", "smooth-2", "smooth-", "smooth-x", "rotate-1", "clip-20", "clip-100", "keep-0", "keep-x", "a+keep"],
)
def test_names_that_are_none_say_the_grammar(name: str) -> None:
    with pytest.raises(
        RequestError, match=r"there is no mitigation .* for `mitigate`.*; there are: none; smooth"
    ) as error:
        mitigation_of(name)
    assert "\n" not in str(error.value)
    assert ("the nearest is smooth" in str(error.value)) == (name == "smoth")


@pytest.mark.parametrize("name", ["rotate+smooth", "keep+keep-2", "smooth+smooth-0.7"])
def test_what_undoes_one_another_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="undo one another"):
        mitigation_of(name)


def test_together_each_acts_on_what_the_one_before_made() -> None:
    model = families.tiny("llama_gqa")
    one = mitigation_of("keep-2+rotate+clip-90")
    assert one is not None
    asked = replace(subject(model), rank=lambda _, probe, __: [place.name for place in probe.places[::-1]])
    (variant,) = one.variants(asked, {})
    assert "Hadamard" in variant.chose
    assert (logits(variant.model) - logits(model)).abs().max() < EXACT
    plain = calibrated(variant.model)
    ready, chose = one.ready(replace(asked, model=variant.model), plain)
    assert chose == "90th percentile; layer 2's down_proj, layer 2's up_proj"
    assert [place.name for place in ready.places] == [place.name for place in plain.places[:-2]]
    assert ready.calibration != plain.calibration


def test_keep_spares_the_first_of_the_ranking() -> None:
    model = families.tiny("llama_gqa")
    one = calibrated(model)
    names = [place.name for place in one.places]
    ready, chose = Keep("keep-2", 2).ready(replace(subject(model), rank=lambda *_: names[3:]), one)
    assert [place.name for place in ready.places] == names[:3] + names[5:]
    assert chose == "layer 0's o_proj, layer 0's gate_proj"
    with pytest.raises(RequestError, match="`rank_sequences` must be at least 1"):
        Keep("keep").ready(subject(model), one)
    with pytest.raises(RequestError, match="would leave none of the 21 modules"):
        Keep("keep-21", 21).ready(replace(subject(model), rank=lambda *_: names), one)


def test_keep_keeps_as_many_as_it_says_or_refuses() -> None:
    model = families.tiny("llama_gqa")
    one = calibrated(model)
    names = [place.name for place in one.places]
    asked = replace(subject(model), rank=lambda _, __, most: names[:most])
    ready, _ = Keep("keep-18", 18).ready(asked, one)
    assert [place.name for place in ready.places] == names[18:]
    with pytest.raises(RequestError, match="`mitigate=keep-5` takes more modules than `rank_limit=2` ranks"):
        Keep("keep-5", 5).ready(replace(asked, rank=lambda *_: names[:2]), one)


@pytest.mark.parametrize("name", ["keep-1_0", "keep-\u0663", "keep- 3", "keep-0", "keep-"])
def test_counts_are_plain_numbers(name: str) -> None:
    with pytest.raises(RequestError, match="there is no mitigation"):
        mitigation_of(name)


def test_no_name_at_all_is_refused() -> None:
    with pytest.raises(RequestError, match="`mitigate` names no mitigation"):
        mitigations_of([])


def test_sinks_further_on_give_the_rest_of_a_prefix() -> None:
    """As many tokens as a window has such sinks on average; a position with few heads is none."""
    ids = torch.arange(80).view(2, 40)
    ids[1, 5] = ids[0, 5]
    rows = Rows("sinks")
    for sequence in range(2):
        for layer, heads, position in ((0, 8, 0), (1, 3, 5), (2, 1, 9)):
            for head in range(heads):
                where: dict[str, Any] = {"layer": layer, "head": head, "sequence": sequence, "position": position}
                rows.add(**where, token="x", alpha=0.5)  # noqa: S106
    assert others(rows.frame(), ids) == [int(ids[0, 5])]


def test_the_first_token_of_a_prefix_is_the_one_that_scales_need_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of <bos>, <eos> and the most frequent token: rounded in static 8 bits, behind each, on calibration text."""
    model = families.tiny("llama_gqa")
    model.get_submodule("model.embed_tokens").weight.data[:3] *= 40.0  # type: ignore[union-attr, operator, index]
    ids = IDS.clone()
    ids[:, 3:30:2] = 9
    asked, sinks = subject(model, ids), Rows("sinks")
    sinks.add(layer=0, head=0, sequence=0, position=0, token="x", alpha=0.9)  # noqa: S106
    monkeypatch.setattr("sinkscope.mitigations.prefix.measure", lambda *_, **__: {"sinks": sinks.frame()})
    found = prefix_tokens(asked)
    losses = {}
    for first in (0, 1, 9):
        tokens = [first, *found[1:]]
        with prefixed(model, tokens, cut=False):
            one = calibrated(model, "a8-static")
            one = replace(one, calibration=calibrate(model, one.places, asked.some))
            with one.entered(model):
                losses[first] = sum(float(loss_sums(model, batch).sum()) for batch in asked.some)
    assert len(set(losses.values())) == 3
    assert found[0] == min(losses, key=lambda first: losses[first])
    assert not model.model._forward_pre_hooks
    begun = ids.clone()
    begun[:, 0] = 0
    assert prefix_tokens(subject(model, begun))[0] == 0  # windows begin with it by rule
