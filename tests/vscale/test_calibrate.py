"""A calibrated start leaves ordinary values almost alone, and follows the norms that the model has."""

import statistics

import pytest
import tiny
import torch

import sinkscope
from sinkscope.errors import SinkscopeError
from sinkscope.vscale import attach_, calibrated_scale

IDS = torch.randint(0, 250, (3, 17), generator=torch.Generator().manual_seed(1))


def test_agrees_with_a_slow_computation() -> None:
    model = tiny.build("llama_gqa", initializer_range=0.3)
    projected: list[torch.Tensor] = []
    handles = [
        layer.self_attn.v_proj.register_forward_hook(lambda _m, _a, out: projected.append(out.detach()))
        for layer in model.model.layers
    ]
    model(input_ids=IDS)
    for handle in handles:
        handle.remove()
    scale = calibrated_scale(model, IDS, batch_size=2)
    for layer, v in enumerate(projected):
        for head in range(2):
            norms = [[float(v[n, t, 8 * head : 8 * head + 8].norm()) for t in range(17)] for n in range(3)]
            sink = sum(row[0] for row in norms) / 3
            median = statistics.median_low([x for row in norms for x in row[1:]])
            assert float(scale[layer][head]) == pytest.approx(min(sink * median, median**2 / 9), rel=1e-5)


def test_costs_the_demo_far_less_than_the_start_of_the_paper() -> None:
    model = sinkscope.load("demo")
    ids = torch.randint(5, 2000, (4, 64), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = model.config.bos_token_id
    scale = calibrated_scale(model, ids)
    with torch.no_grad():
        bare = model(input_ids=ids).logits
        calibrated = attach_(model, scale=scale)(input_ids=ids).logits
        paper = attach_(sinkscope.load("demo"))(input_ids=ids).logits
    assert float((calibrated - bare).norm()) < 0.5 * float((paper - bare).norm())


def test_misuse_is_refused() -> None:
    model = tiny.build("llama_gqa")
    with pytest.raises(SinkscopeError, match="at least 2 tokens"):
        calibrated_scale(model, IDS[:, :1])
    with pytest.raises(SinkscopeError, match="calibrate before attach_"):
        calibrated_scale(attach_(model), IDS)
