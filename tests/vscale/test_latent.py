"""V-scale on latent attention, whose values exist per head behind the projection of the latent."""

import pytest
import torch
from reference.models import tiny, tokens

import sinkscope
from sinkscope import Settings
from sinkscope.vscale import attach_, attached, calibrated_scale

IDS = tokens(3, 16)


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
