"""Before rounding, a mitigated model computes what it computed before: logits within 1e-4, in float32."""

from typing import Any

import families
import pytest
import tiny
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.methods.linear_modules import linears
from sinkscope.mitigations.mitigation import Subject, Variant
from sinkscope.mitigations.prefix import prefixed
from sinkscope.mitigations.registry import mitigation_of
from sinkscope.passes.batches import batches_of
from sinkscope.passes.losses import loss_sums
from sinkscope.vscale.attach import attach_, attached

PLAIN = [
    "llama_mha", "llama_gqa", "qwen2", "qwen3", "mistral_window", "ministral", "ministral3", "granite", "smollm3",
    "seed_oss", "gemma",
]  # fmt: skip
MOVING = ["smooth", "smooth-0.9", "rotate"]
IDS = torch.randint(3, 258, (3, 40), generator=torch.Generator().manual_seed(0))
EXACT = 1e-4


def subject(model: PreTrainedModel, ids: Tensor = IDS, **more: Any) -> Subject:
    return Subject(model, "tiny", batches_of(ids[:2], None, 1), ids, tiny.tokenizer(), **more)


@torch.no_grad()
def logits(model: PreTrainedModel, ids: Tensor = IDS) -> Tensor:
    found: Tensor = model(input_ids=ids, use_cache=False).logits
    return found


def changed(name: str, model: PreTrainedModel, **more: Any) -> Variant:
    mitigation = mitigation_of(name)
    assert mitigation is not None
    mitigation.refuse(model)
    return next(mitigation.variants(subject(model, **more), {}))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("mitigation", MOVING)
@pytest.mark.parametrize("name", PLAIN)
def test_weights_move_and_logits_stay(name: str, mitigation: str, tied: bool) -> None:
    model = families.tiny(name, tie_word_embeddings=tied)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    exact = logits(model)
    other = changed(mitigation, model).model
    assert other is not model
    assert (logits(other) - exact).abs().max() < EXACT
    pairs = zip(linears(model), linears(other), strict=True)
    assert all(not torch.allclose(one.module.weight, two.module.weight) for one, two in pairs)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.config.tie_word_embeddings is tied


@pytest.mark.parametrize("mitigation", MOVING)
def test_biases_move_too(mitigation: str) -> None:
    model = families.tiny("llama_gqa", attention_bias=True, mlp_bias=True)
    assert (logits(changed(mitigation, model).model) - logits(model)).abs().max() < EXACT


@pytest.mark.parametrize("mitigation", MOVING)
def test_vscale_stays_exact(mitigation: str) -> None:
    """A rotation keeps the lengths of values, which is all that V-scale looks at; `smooth` leaves values alone."""
    model = attach_(families.tiny("llama_gqa"), scale=[torch.full((2,), 5.0)] * 3)
    other = changed(mitigation, model).model
    assert len(attached(other)) == 3
    assert (logits(other) - logits(model)).abs().max() < EXACT
    v = "model.layers.0.self_attn.v_proj"
    rows = [torch.linalg.matrix_rank(m.get_submodule(v).weight) for m in (model, other)]  # type: ignore[arg-type]
    assert rows[0] == rows[1]


def test_without_vscale_values_are_smoothed() -> None:
    plain, valved = families.tiny("llama_gqa"), attach_(families.tiny("llama_gqa"))
    for model, kept in ((plain, False), (valved, True)):
        o = [m.get_submodule("model.layers.0.self_attn.o_proj").weight for m in (model, changed("smooth", model).model)]
        assert torch.equal(*o) is kept  # type: ignore[arg-type]


def test_the_same_copy_for_the_same_seed() -> None:
    model = families.tiny("llama_gqa")
    one, same, other = (changed("rotate", model, seed=seed).model.state_dict() for seed in (1, 1, 2))
    key = "model.embed_tokens.weight"
    assert torch.equal(one[key], same[key])
    assert not torch.equal(one[key], other[key])


def test_a_rotation_flattens_what_modules_read() -> None:
    """An outlier channel of the stream, made by the gain of a norm, is gone; and so is one of down_proj's input."""
    model = families.tiny("llama_gqa")
    layer = model.get_submodule("model.layers.1")
    layer.get_submodule("post_attention_layernorm").weight.data[5] = 300.0  # type: ignore[union-attr, operator, index]
    layer.get_submodule("mlp.up_proj").weight.data[7] *= 300.0  # type: ignore[union-attr, operator, index]
    largest: dict[int, list[float]] = {}
    for number, one in enumerate((model, changed("rotate", model).model)):
        found = largest.setdefault(number, [])
        for name in ("mlp.up_proj", "mlp.down_proj"):
            module = one.get_submodule(f"model.layers.1.{name}")
            module.register_forward_hook(
                lambda _, inputs, __, found=found: found.append(
                    float(inputs[0].abs().max() / inputs[0].square().mean().sqrt())
                )
            )
        logits(one)
    assert all(after < before / 1.5 for before, after in zip(largest[0], largest[1], strict=True))


PREFIXED = ["llama_gqa", "qwen3", "mistral_window", "ministral", "gemma2", "gemma3_text", "olmo2", "gpt_neox", "phi"]


@pytest.mark.parametrize("name", PREFIXED)
@pytest.mark.parametrize("tokens", [[0], [0, 17, 5]])
def test_a_prefix_is_the_text_before_a_window(name: str, tokens: list[int]) -> None:
    model = families.tiny(name)
    whole = torch.cat([torch.tensor([tokens]).expand(len(IDS), -1), IDS], dim=1)
    exact, alone = logits(model, whole)[:, len(tokens) :], logits(model)
    with prefixed(model, tokens, cut=False):
        assert (logits(model) - exact).abs().max() < EXACT
    assert torch.equal(logits(model), alone)


@pytest.mark.parametrize("name", PREFIXED)
def test_windows_that_begin_with_bos_keep_their_function(name: str) -> None:
    """Their <bos> is the prefix's, and the same targets are scored, the first from the prefix's last state."""
    model = families.tiny(name)
    ids = IDS.clone()
    ids[:, 0] = 0
    exact, targets = logits(model, ids), batches_of(ids, None, 3)[0]
    with prefixed(model, [0], cut=True):
        assert (logits(model, ids) - exact).abs().max() < EXACT
        sums = loss_sums(model, targets)
    by_hand = F.cross_entropy(exact[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none").sum(1)
    assert torch.allclose(sums, by_hand, atol=1e-3)


def test_vscale_reads_the_prefix_through_its_valve() -> None:
    model = attach_(families.tiny("llama_gqa"), scale=[torch.full((2,), 5.0)] * 3)
    whole = torch.cat([torch.tensor([[0, 9]]).expand(len(IDS), -1), IDS], dim=1)
    exact = logits(model, whole)[:, 2:]
    with prefixed(model, [0, 9], cut=False):
        assert (logits(model) - exact).abs().max() < EXACT


def test_a_prefix_is_computed_in_full_precision() -> None:
    """What is put on the model inside the block does not reach it: with all windows' weights zero, keys stay."""
    model = families.tiny("llama_gqa")
    with prefixed(model, [0], cut=False):
        exact = logits(model)
        weight = model.get_submodule("model.layers.0.self_attn.k_proj").weight
        held = weight.data.clone()  # type: ignore[union-attr, operator]
        weight.data.zero_()  # type: ignore[union-attr, operator]
        without = logits(model)
        weight.data.copy_(held)  # type: ignore[union-attr, operator, arg-type]
        assert torch.equal(logits(model), exact)
    weight.data.zero_()  # type: ignore[union-attr, operator]
    with prefixed(model, [0], cut=False):
        assert not torch.allclose(logits(model), without, atol=1e-3)


REFUSED = {
    "gemma2": ("rotate", "the gains of the norms behind its branches cannot be folded"),
    "olmo2": ("smooth", "its branches read the stream without a norm before"),
    "cohere": ("rotate", "its branches are parallel"),
    "phi": ("smooth", "its branches are parallel"),
    "mixtral": ("smooth", "its experts read the norm too"),
    "olmo": ("smooth", "its input_layernorm has no gain"),
    "phi3": ("rotate", "its self_attn has no plain linear q_proj"),
    "stablelm": ("rotate", "its norms subtract the mean"),
    "gpt2": ("prefix", "its positions are learned"),
    "llama4_text": ("prefix", "its attention is cut into chunks"),
    "starcoder2": ("smooth", "its mlp has no plain linear gate_proj"),
    "opt_stream_norm": ("rotate", "its norms stand on the residual stream itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_structures_on_which_it_is_not_exact_are_refused_by_name(name: str) -> None:
    mitigation, said = REFUSED[name]
    model = families.tiny(name)
    with pytest.raises(SinkscopeError) as error:
        changed(mitigation, model)
    assert str(error.value).startswith(f"`mitigate={mitigation}` is not exact on a '{model.config.model_type}': {said}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["gemma2", "gemma3_text", "stablelm"])
def test_smooth_is_exact_where_only_rotations_are_not(name: str) -> None:
    model = families.tiny(name)
    assert (logits(changed("smooth", model).model) - logits(model)).abs().max() < EXACT


def test_a_prefix_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    model = families.tiny("llama_gqa", sharpness=0.0)  # attention is uniform: no head has a sink
    with pytest.raises(SinkscopeError, match="no head of tiny has a sink at token 0 of 2 calibration windows"):
        changed("prefix", model)
    with pytest.raises(RequestError, match="`isolate_documents` keeps its documents from reading it"):
        changed("prefix", model, isolated=True)
    model = families.tiny("llama_gqa")
    model.config.max_position_embeddings = 40
    monkeypatch.setattr("sinkscope.mitigations.prefix.prefix_tokens", lambda *_: [0, 5])
    with pytest.raises(RequestError, match="42 tokens with the prefix exceed the model's context of 40: use fewer"):
        changed("prefix", model)
