"""A retrofitted model is the base model with valved values, however its attention is computed, and comes off whole."""

import copy

import pytest
import tiny
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.vscale import attach_, attached, detach_, set_ramp_

IDS = torch.randint(0, 250, (2, 20), generator=torch.Generator().manual_seed(0))


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def with_scaled_projections(model: PreTrainedModel) -> PreTrainedModel:
    """The slow way: a hook on every value projection that applies equation (14) per head."""
    config, model = model.config, copy.deepcopy(model)
    c = config.hidden_size * config.head_dim * config.initializer_range**2

    def valve(_module: object, _args: object, output: Tensor) -> Tensor:
        v = output.unflatten(-1, (-1, config.head_dim))
        r = v.square().sum(-1, keepdim=True)
        return (r / (r + c) * v).flatten(-2)

    for layer in model.model.layers:
        layer.self_attn.v_proj.register_forward_hook(valve)
    return model


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_computes_attention_over_valved_values(name: str, implementation: str) -> None:
    model = tiny.build(name)
    model.set_attn_implementation(implementation)
    bare, names = logits(model), set(model.state_dict())
    expected = logits(with_scaled_projections(model))
    attach_(model)
    assert names < set(model.state_dict())
    torch.testing.assert_close(logits(model), expected)
    assert not torch.allclose(expected, bare, atol=1e-4)
    detach_(model)
    assert set(model.state_dict()) == names
    assert model.config._attn_implementation == implementation
    assert torch.equal(logits(model), bare)


def test_backward_only_and_a_closed_ramp_leave_the_logits_alone() -> None:
    model = tiny.build("llama_gqa")
    bare = logits(model)
    attach_(model, variant="backward-only")
    assert torch.equal(logits(model), bare)
    detach_(model)
    attach_(model)
    set_ramp_(model, 0.0)
    assert torch.equal(logits(model), bare)


def test_cached_and_uncached_logits_agree() -> None:
    model = attach_(tiny.build("llama_gqa"))
    whole = logits(model)
    with torch.no_grad():
        first = model(input_ids=IDS[:, :12], use_cache=True)
        steps, cache = [first.logits], first.past_key_values
        for t in range(12, 20):
            out = model(input_ids=IDS[:, t : t + 1], past_key_values=cache, use_cache=True)
            steps.append(out.logits)
            cache = out.past_key_values
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(reentrant: bool) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = attach_(tiny.build("llama_gqa")).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        gradients.append(torch.cat([v.theta.grad for v in attached(model) if v.theta.grad is not None]))
    assert len(gradients[0]) == 4
    assert float(gradients[0].abs().min()) > 0
    torch.testing.assert_close(*gradients)


def test_an_original_checkpoint_loads_strictly() -> None:
    model = attach_(tiny.build("llama_gqa", seed=1))
    attached(model)[0].theta.data.fill_(0.25)
    model.load_state_dict(tiny.build("llama_gqa", seed=2).state_dict(), strict=True)
    assert attached(model)[0].theta.tolist() == [0.25, 0.25]
    detach_(model)
    assert torch.equal(logits(model), logits(tiny.build("llama_gqa", seed=2)))


def test_only_learned_trains_theta() -> None:
    for variant, trained in (("learned", True), ("fixed", False), ("backward-only", False)):
        model = attach_(tiny.build("llama_gqa"), variant=variant)
        assert [v.theta.requires_grad for v in attached(model)] == [trained] * 2


def test_switching_attention_afterwards_is_an_error_and_not_a_silent_bypass() -> None:
    model = attach_(tiny.build("llama_gqa"))
    model.set_attn_implementation("eager")
    with pytest.raises(SinkscopeError, match="switched to eager with V-scale attached"):
        logits(model)


def test_misuse_is_refused() -> None:
    model = tiny.build("llama_gqa")
    with pytest.raises(SinkscopeError, match="no V-scale"):
        detach_(model)
    with pytest.raises(SinkscopeError, match="learned, fixed, backward-only"):
        attach_(model, variant="loud")
    with pytest.raises(SinkscopeError, match="2 layers of 2 value heads"):
        attach_(model, scale=[torch.ones(2)])
    assert attached(model) == []
    attach_(model)
    with pytest.raises(SinkscopeError, match="attached already"):
        attach_(model)
