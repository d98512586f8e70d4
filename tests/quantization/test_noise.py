"""Noise, ranking, histograms and intervals say what a slow look at the same values says."""

import math

import numpy as np
import pytest
import slow_rounding as slow
import tiny
import torch

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe
from sinkscope.passes.batches import batches_of
from sinkscope.quantization import calibrate, parse_probe, probed
from sinkscope.quantization.histograms import counts, histograms
from sinkscope.quantization.noise import measure_noise
from sinkscope.quantization.ranking import losses, mean_loss, noisiest, rank

IDS = torch.arange(2, 34).view(2, 16)
BATCHES = batches_of(IDS, None, 1)


@pytest.fixture
def model() -> "tiny.PreTrainedModel":
    return tiny.build("llama_gqa")


def calibrated_probe(model: "tiny.PreTrainedModel", name: str) -> CalibratedProbe:
    probe = parse_probe(name)
    assert probe is not None
    return CalibratedProbe(name, probe, probe.places(model), calibrate(model, linears(model), BATCHES))


@pytest.mark.parametrize("name", ["w8a8-dynamic", "w4a6-static", "w8", "a3-static", "w8a4-static-dynamic-down"])
def test_noise_agrees_with_the_reference(model: "tiny.PreTrainedModel", name: str) -> None:
    calibrated = calibrated_probe(model, name)
    table = measure_noise(model, "tiny", [calibrated], BATCHES)
    assert table["module"].tolist() == [place.name for place in calibrated.places]
    place = next(p for p in calibrated.places if p.name == "model.layers.1.mlp.down_proj")
    found = table.set_index("module").loc[place.name]
    inputs: list[torch.Tensor] = []
    handle = place.module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    losses(model, BATCHES)
    handle.remove()
    x = torch.cat(inputs).flatten(0, 1)
    largest = float(x.abs().max())
    static = largest if calibrated.probe.static and not name.endswith("-dynamic-down") else None
    bits = calibrated.probe.activation_bits
    assert found["activation_absmax"] == pytest.approx(largest)
    exact = slow.linear(place.module, x, None, None, None)
    rough = slow.linear(place.module, x, calibrated.probe.weight_bits, bits, static)
    assert found["sqnr_output"] == pytest.approx(slow.sqnr(exact, rough), abs=1e-3)
    if bits is None:
        assert math.isnan(found["sqnr_activation"])
        assert math.isnan(found["activation_zeroed"])
    else:
        rounded = torch.tensor([slow.row(r, static or max(abs(v) for v in r), bits) for r in x.tolist()])
        assert found["sqnr_activation"] == pytest.approx(slow.sqnr(x, rounded), abs=1e-4)
        zeroed = sum(a != 0 and b == 0 for a, b in zip(x.flatten().tolist(), rounded.flatten().tolist(), strict=True))
        assert found["activation_zeroed"] == pytest.approx(zeroed / x.numel())
    if calibrated.probe.weight_bits:
        weight = place.module.weight.detach()
        rows = [slow.row(r, max(abs(v) for v in r), calibrated.probe.weight_bits) for r in weight.tolist()]
        assert found["sqnr_weight"] == pytest.approx(slow.sqnr(weight, torch.tensor(rows)), abs=1e-4)
    else:
        assert math.isnan(found["sqnr_weight"])


def test_an_outlier_costs_decibels(model: "tiny.PreTrainedModel") -> None:
    calibrated = calibrated_probe(model, "a8-static")
    before = measure_noise(model, "tiny", [calibrated], BATCHES).set_index("module")["sqnr_activation"]
    loud = {name: 16 * value for name, value in calibrated.calibration.items()}
    after = measure_noise(
        model, "tiny", [CalibratedProbe("a8", calibrated.probe, calibrated.places, loud)], BATCHES
    ).set_index("module")
    assert ((before - after["sqnr_activation"] - 20 * math.log10(16)).abs() < 2).all()  # 24 dB, four bits


def test_ranking_is_one_module_at_a_time(model: "tiny.PreTrainedModel") -> None:
    calibrated = calibrated_probe(model, "w3a3-dynamic")
    noise = measure_noise(model, "tiny", [calibrated], BATCHES)
    chosen = noisiest(noise, calibrated.places, 3)
    assert [p.name for p in chosen] == noise.sort_values("sqnr_output")["module"].tolist()[:3]
    table = rank(model, "tiny", calibrated, chosen, BATCHES)
    assert set(table["module"]) == {p.name for p in chosen}
    assert table["delta_alone"].is_monotonic_decreasing
    assert table["rank"].tolist() == [1, 2, 3]
    exact = mean_loss(losses(model, BATCHES))
    with calibrated.entered(model):
        whole = mean_loss(losses(model, BATCHES))
    for row in table.itertuples():
        place = next(p for p in calibrated.places if p.name == row.module)
        with probed(model, calibrated.probe, None, [place]):
            assert row.delta_alone == mean_loss(losses(model, BATCHES)) - exact
        with probed(model, calibrated.probe, None, [p for p in calibrated.places if p is not place]):
            assert row.recovered == whole - mean_loss(losses(model, BATCHES))


def test_losses_are_transformers_own(model: "tiny.PreTrainedModel") -> None:
    with torch.no_grad():
        expected = float(model(input_ids=IDS, labels=IDS).loss)
    assert mean_loss(losses(model, BATCHES)) == pytest.approx(expected, rel=1e-6)


def test_histogram_bins() -> None:
    x = torch.tensor([0.0, 8.0, 7.9, 4.0, 5.7, 3.9, -4.1, 1e-9])
    found = counts(x, 8.0)
    assert found.sum() == len(x)
    # Half octaves below 8: [5.66, 8), [4, 5.66), [2.83, 4); 8 itself goes into the last bin, dust into the first.
    assert found[-1] == 3
    assert found[-2] == 2
    assert found[-3] == 1
    assert found[0] == 2


def test_histograms_count_every_value(model: "tiny.PreTrainedModel") -> None:
    calibrated = calibrated_probe(model, "w8a8-static")
    places = calibrated.places[:2]
    table = histograms(model, "tiny", places, calibrated.calibration, BATCHES).frame()
    for place in places:
        rows = table[table["module"] == place.name]
        of_weight = rows[rows["tensor"] == "weight"]
        assert of_weight["count"].sum() == place.module.weight.numel()
        assert rows[rows["tensor"] == "activation"]["count"].sum() == IDS.numel() * place.module.in_features
        assert of_weight["high"].max() == pytest.approx(place.module.weight.abs().max().item())


def test_interval_of_a_mean() -> None:
    generator = np.random.default_rng(0)
    sums, counts_ = generator.normal(300, 10, 200), np.full(200, 100)
    low, high = ratio_interval(sums, counts_, seed=1)
    error = sums.std(ddof=1) / 100 / math.sqrt(200)
    assert low == pytest.approx(3 + (sums.mean() - 300) / 100 - 1.96 * error, abs=0.15 * error)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert ratio_interval(sums, counts_, seed=1) == (low, high)
    assert ratio_interval(sums, counts_, seed=2) != (low, high)


def test_interval_covers_what_it_should() -> None:
    generator = np.random.default_rng(0)
    inside = 0
    for trial in range(100):
        low, high = ratio_interval(generator.normal(0, 1, 60), np.ones(60), seed=trial)
        inside += low < 0 < high
    assert 88 <= inside <= 99


def test_no_interval_from_one_sequence_or_from_nan() -> None:
    assert all(math.isnan(end) for end in ratio_interval(np.ones(1), np.ones(1), seed=0))
    assert all(math.isnan(end) for end in ratio_interval(np.array([1.0, math.nan]), np.ones(2), seed=0))
