"""SmoothQuant's scales by hand, and the search for alpha."""

from typing import Any

import families
import pytest
import torch
from test_exact import IDS, subject

from sinkscope.methods.probes import parse_probe
from sinkscope.mitigations import smooth
from sinkscope.mitigations.registry import mitigation_of


def test_scales_are_those_of_the_paper() -> None:
    q, k = (torch.nn.Linear(3, 2, bias=False) for _ in range(2))
    q.weight.data = torch.tensor([[1.0, -4.0, 0.0], [0.5, 1.0, 0.0]])
    k.weight.data = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    largest = torch.tensor([8.0, 1.0, 5.0])
    by_hand = torch.tensor([8**0.75 / 2**0.25, 1 / 4**0.25, 1.0])  # no weight reads the last channel
    assert torch.allclose(smooth.scales(largest, (q, k), 0.75), by_hand)


def test_ranges_are_the_largest_values_of_channels() -> None:
    model = families.tiny("llama_gqa")
    seen: list[torch.Tensor] = []
    module = model.get_submodule("model.layers.2.mlp.down_proj")
    handle = module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        model(input_ids=IDS[:2])
    handle.remove()
    ranges = smooth.channel_ranges(model, subject(model).calibration, "smooth")
    assert torch.allclose(ranges[2]["down"], seen[0].abs().amax((0, 1)), atol=1e-5)
    assert not module._forward_pre_hooks


def test_smoothing_evens_out_what_static_scales_cover() -> None:
    """A channel a hundred times larger than the others is no longer that."""
    model = families.tiny("llama_gqa")
    norm: Any = model.get_submodule("model.layers.0.input_layernorm")
    norm.weight.data[3] = 100.0
    one = mitigation_of("smooth")
    assert one is not None
    other = next(one.variants(subject(model), {})).model
    before, after = (smooth.channel_ranges(m, subject(model).calibration, "smooth")[0]["q"] for m in (model, other))
    assert after.max() / after.median() < 0.3 * before.max() / before.median()


def test_the_search_takes_the_alpha_with_the_smallest_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = families.tiny("llama_gqa")
    names = ["w4", "w8a8-static", "a4-static"]
    probes = {name: probe for name in names if (probe := parse_probe(name)) is not None}
    one = mitigation_of("smooth-search")
    assert one is not None
    monkeypatch.setattr(smooth, "SEARCHED", (0.0, 0.4, 0.8))
    found = list(one.variants(subject(model), probes))
    assert sorted(name for variant in found for name in variant.probes) == sorted(names)
    exact = smooth.last_hidden(model, subject(model).some)
    for variant in found:
        best = float(variant.chose.removeprefix("alpha "))
        for name, probe in variant.probes.items():
            errors = {}
            for alpha in (0.0, 0.4, 0.8):
                other = mitigation_of(f"smooth-{alpha}")
                assert other is not None
                (same,) = other.variants(subject(model), {name: probe})
                largest = smooth.calibrate(same.model, smooth.linears(same.model), subject(model).calibration)
                with smooth.CalibratedProbe(name, probe, probe.places(same.model), largest).entered(same.model):
                    rounded = smooth.last_hidden(same.model, subject(model).some)
                errors[alpha] = sum(float((a - b).square().sum()) for a, b in zip(exact, rounded, strict=True))
            assert min(errors, key=lambda alpha: errors[alpha]) == best


def test_an_alpha_whose_error_is_not_finite_is_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = families.tiny("llama_gqa"), []
    last_hidden = smooth.last_hidden

    def hidden(*given: Any) -> Any:
        calls.append(given)
        states = last_hidden(*given)
        return [torch.full_like(state, torch.nan) for state in states] if len(calls) == 2 else states

    monkeypatch.setattr(smooth, "SEARCHED", (0.3, 0.5))
    monkeypatch.setattr(smooth, "last_hidden", hidden)
    one, probe = mitigation_of("smooth-search"), parse_probe("w4")
    assert one is not None
    assert probe is not None
    (variant,) = one.variants(subject(model), {"w4": probe})
    assert variant.chose == "alpha 0.5"
