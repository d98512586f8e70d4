"""Ranges that leave out the largest values, against slow references that hold every value."""

from dataclasses import replace
from typing import Any

import families
import numpy as np
import pytest
import torch
from test_exact import IDS, logits, subject
from torch import Tensor

from sinkscope.methods.calibration import calibrate
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, parse_probe
from sinkscope.mitigations.clip import FACTORS, Clip, least_squared_error, percentiles
from sinkscope.mitigations.registry import mitigation_of


def inputs_of(model: Any) -> dict[str, Tensor]:
    """What every module reads on the calibration windows, all of it."""
    seen: dict[str, list[Tensor]] = {}
    handles = [
        place.module.register_forward_hook(
            lambda _, inputs, __, name=place.name: seen.setdefault(name, []).append(inputs[0])
        )
        for place in linears(model)
    ]
    for row in IDS[:2]:
        logits(model, row[None])
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def calibrated(model: Any, name: str = "w8a4-static") -> CalibratedProbe:
    probe = parse_probe(name)
    assert probe is not None
    places = probe.places(model)
    return CalibratedProbe(name, probe, places, calibrate(model, places, subject(model).calibration))


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.9])
def test_percentiles_are_those_of_all_values(percentile: float) -> None:
    model = families.tiny("llama_gqa")
    found = percentiles(model, linears(model), subject(model).calibration, percentile)
    for name, values in inputs_of(model).items():
        by_hand = np.quantile(values.abs().numpy().ravel(), percentile / 100, method="inverted_cdf")
        assert found[name] == pytest.approx(by_hand, rel=1e-4)


def test_the_range_with_the_smallest_squared_error() -> None:
    model = families.tiny("llama_gqa")
    one = calibrated(model)
    found = least_squared_error(model, one, subject(model).calibration)
    for name, values in inputs_of(model).items():
        ranges = [one.calibration[name] * factor for factor in FACTORS]
        errors = [
            float((values - (values / (top / 7)).round().clamp(-7, 7) * (top / 7)).square().sum())  # codes of 4 bits
            for top in ranges
        ]
        assert found[name] == pytest.approx(ranges[int(np.argmin(errors))])
    assert any(found[name] < one.calibration[name] for name in found)  # at 4 bits clipping pays
    assert not any(place.module._forward_pre_hooks for place in one.places)


def test_inputs_with_a_scale_per_token_are_not_clipped() -> None:
    model = families.tiny("llama_gqa")
    one = calibrated(model)
    probe = parse_probe("a4-static-dynamic-down")
    assert probe is not None
    mixed = replace(one, name=probe.name, probe=probe)
    found = least_squared_error(model, mixed, subject(model).calibration)
    assert all(found[place.name] == one.calibration[place.name] for place in one.places if place.down)
    assert any(found[name] < one.calibration[name] for name in found)


def test_it_is_for_static_scales_alone() -> None:
    mitigation = mitigation_of("clip")
    names = {"w8": False, "w8a8-dynamic": False, "a8-static": True, "w4a4-static-down": True,
             "w8a8-static-dynamic-down": True}  # fmt: skip
    assert mitigation is not None
    for name, applies in names.items():
        probe = parse_probe(name)
        assert probe is not None
        assert mitigation.applies_to(probe) is applies


def test_what_was_chosen_is_put_on_and_said() -> None:
    model = families.tiny("llama_gqa")
    one = calibrated(model)
    for mitigation, words in ((Clip("clip"), "modules clipped"), (Clip("clip-90", 90.0), "90th percentile")):
        ready, chose = mitigation.ready(subject(model), one)
        assert words in chose
        assert ready == replace(one, calibration=ready.calibration)
        assert all(ready.calibration[name] <= one.calibration[name] for name in one.calibration)
        assert ready.calibration != one.calibration
