"""V-scale on mixtures of experts, latent attention and learned sinks: attached, trained for a step, taken off again."""

import copy

import pytest
import torch
from families import EXPERTS
from reference.models import tiny, tokens
from torch import nn

import sinkscope
from sinkscope import Settings
from sinkscope.vscale import attach_, attached, calibrated_scale, detach_

IDS = tokens(3, 16)


@pytest.mark.parametrize("family", EXPERTS)
def test_attaches_trains_a_step_and_comes_off_bit_identically(family: str) -> None:
    model = tiny(family)
    with torch.no_grad():
        before, state = model(input_ids=IDS, use_cache=False).logits, copy.deepcopy(model.state_dict())
    attach_(model)
    logits = model(input_ids=IDS, use_cache=False).logits
    assert (logits - before).abs().max() > 1e-3 * before.abs().max()
    thetas = [valve.theta for valve in attached(model)]
    optimizer = torch.optim.SGD(thetas, lr=10.0)
    loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    assert all(bool((theta != 0).all()) for theta in thetas)
    with torch.no_grad():
        moved = model(input_ids=IDS, use_cache=False).logits
    assert not torch.equal(moved, logits)
    detach_(model)
    with torch.no_grad():
        after = model(input_ids=IDS, use_cache=False).logits
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    torch.testing.assert_close(dict(model.state_dict()), dict(state), rtol=0, atol=0)


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3"])
def test_the_papers_c_on_latent_attention_is_the_values_norm_at_initialization(family: str) -> None:
    """A value is projected from the normalized latent: C = kv_lora_rank * v_head_dim * sigma^2 = E|v|^2."""
    model = tiny(family)
    sigma = model.config.initializer_range
    with torch.no_grad():
        for block in model.model.layers:
            block.self_attn.kv_b_proj.weight.normal_(0, sigma)
            block.self_attn.kv_a_layernorm.weight.fill_(1)
    run = sinkscope.analyze(model, input_ids=tokens(8, 16), settings=Settings(backward=False)).run
    squared = float((run["values"]["norm"] ** 2).mean())
    attach_(model)
    for valve in attached(model):
        torch.testing.assert_close(valve.C.detach(), torch.full((4,), 16 * 6 * sigma**2))
    assert squared == pytest.approx(16 * 6 * sigma**2, rel=0.3)


def test_scaled_values_of_latent_attention_are_measured_beside_the_raw_ones() -> None:
    model = tiny("deepseek_v3")
    scale = calibrated_scale(model, IDS)
    attach_(model, scale=scale)
    run = sinkscope.analyze(model, input_ids=IDS, settings=Settings(sink_window=8, early=5)).run
    values = run["values"]
    c = torch.stack(scale).numpy()[values["layer"], values["kv_head"]]
    expected = values["norm"] ** 3 / (values["norm"] ** 2 + c)  # of one norm; here the mean over sequences of them
    assert (values["norm_scaled"] < values["norm"]).all()
    assert (values["norm_scaled"] - expected).abs().max() < 0.2 * values["norm"].max()
    assert run.info["headline"]["bound_violations"] == 0
