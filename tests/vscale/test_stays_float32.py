"""Theta is float32 through casts and loads, and so is its gradient."""

import tiny
import torch

from sinkscope.vscale.attach import attach_, attached


def test_a_gradient_stays_with_theta_when_the_model_is_cast() -> None:
    model = attach_(tiny.build("llama_gqa"))
    ids = torch.arange(2, 18)[None]
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    before = [valve.theta.grad.clone() for valve in attached(model)]  # type: ignore[union-attr]
    model.bfloat16()
    for valve, gradient in zip(attached(model), before, strict=True):
        assert valve.theta.dtype is torch.float32
        assert valve.theta.grad is not None
        assert torch.equal(valve.theta.grad, gradient)
    torch.optim.AdamW([valve.theta for valve in attached(model)], lr=0.1).step()


def test_theta_that_is_assigned_is_float32_all_the_same() -> None:
    model = attach_(tiny.build("llama_gqa"))
    state = {name: value.bfloat16() for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    assert {valve.theta.dtype for valve in attached(model)} == {torch.float32}
    assert next(model.parameters()).dtype is torch.bfloat16
