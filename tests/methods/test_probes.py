"""A probed model computes what the slow reference computes, module by module, and leaves no trace."""

import copy
from typing import Any

import pytest
import slow_rounding as slow
import tiny
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import Probe
from sinkscope.passes.batches import batches_of
from sinkscope.quantization import calibrate, parse_probe, probed
from sinkscope.vscale import attach_

IDS = torch.arange(2, 34).view(2, 16)
BATCHES = batches_of(IDS, None, 1)
PROBES = ["w8", "a8-dynamic", "a8-static", "w8a8-dynamic", "w8a8-static", "w8a8-static-down",
          "w8a8-static-dynamic-down", "a4-static-dynamic-down", "w4a8-dynamic", "w3a5-static"]  # fmt: skip


def probe_of(name: str) -> Probe:
    probe = parse_probe(name)
    assert probe is not None
    return probe


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(input_ids=IDS, use_cache=False).logits
    return result


def seen(model: PreTrainedModel) -> dict[str, tuple[Tensor, Tensor]]:
    """Input, as the caller gave it, and output of every linear module."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = (inputs[0].detach().clone(), output.detach().clone())

        return hook

    handles = [p.module.register_forward_hook(keep(p.name)) for p in linears(model)]
    logits(model)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("family", ["llama_gqa", "qwen2_mha"])  # qwen2 has biases
def test_every_module_computes_the_reference(name: str, family: str) -> None:
    model, probe = tiny.build(family), probe_of(name)
    for place in linears(model):
        if place.module.bias is not None:
            nn.init.normal_(place.module.bias)
    plain = {p.name: p.module for p in linears(copy.deepcopy(model))}
    calibration = calibrate(model, linears(model), BATCHES)
    chosen = {place.name for place in probe.places(model)}
    assert chosen == {p.name for p in linears(model) if not probe.down or p.site == "mlp.down_proj"}
    with probed(model, probe, calibration):
        for module, (x, y) in seen(model).items():
            bits = (probe.weight_bits, probe.activation_bits) if module in chosen else (None, None)
            dynamic = name.endswith("-dynamic-down") and module.endswith("mlp.down_proj")
            largest = calibration[module] if probe.static and not dynamic else None
            # The hook sees an input that is rounded already, and rounding twice by one scale changes nothing.
            expected = slow.linear(plain[module], x[0, :3], *bits, largest)
            torch.testing.assert_close(y[0, :3].double(), expected, rtol=1e-5, atol=1e-6)


def test_inputs_are_rounded_copies() -> None:
    """q, k and v read one tensor: rounding must not show in what the others, or the residual stream, read."""
    model, probe = tiny.build("llama_gqa"), probe_of("a2-dynamic")
    place = next(p for p in linears(model) if p.site == "self_attn.q_proj")
    exact = seen(model)
    with probed(model, probe, None, [place]):
        found = seen(model)
    key = "model.layers.0.self_attn.k_proj"
    assert torch.equal(found[key][0], exact[key][0])
    assert not torch.equal(found[place.name][0], exact[place.name][0])


def _break_inside(model: PreTrainedModel, probe: Probe, calibration: dict[str, float], before: Tensor) -> None:
    with probed(model, probe, calibration):
        assert not torch.equal(logits(model), before)
        raise RuntimeError("boom")


@pytest.mark.parametrize("name", ["w8a8-dynamic", "w2a2-static"])
def test_the_model_comes_back_bit_identical(name: str) -> None:
    model = tiny.build("llama_gqa")
    parameters = {key: (value, value.detach().clone()) for key, value in model.named_parameters()}
    before = logits(model)
    calibration = calibrate(model, linears(model), BATCHES)
    with pytest.raises(RuntimeError, match="boom"):
        _break_inside(model, probe_of(name), calibration, before)
    assert torch.equal(logits(model), before)
    for key, value in model.named_parameters():
        assert value is parameters[key][0]
        assert torch.equal(value, parameters[key][1])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_lm_head_is_left_alone() -> None:
    model = tiny.build("llama_gqa")
    with probed(model, probe_of("w2")):
        assert torch.equal(model.lm_head.weight, tiny.build("llama_gqa").lm_head.weight)
    assert all("lm_head" not in place.name for place in linears(model))


def test_calibration_is_the_largest_input() -> None:
    model = tiny.build("qwen3_gqa")
    found = calibrate(model, linears(model), BATCHES)
    assert found == {name: float(x.abs().max()) for name, (x, _) in seen(model).items()}
    assert found == calibrate(model, linears(model), batches_of(IDS, None, 2))


def test_vscale_stays_under_a_probe() -> None:
    model = attach_(tiny.build("llama_gqa"))
    before = logits(model)
    with probed(model, probe_of("w8a8-dynamic")):
        near = logits(model)
    with probed(tiny.build("llama_gqa"), probe_of("w8a8-dynamic")) as plain:
        assert (near - before).norm() < 0.2 * (logits(plain) - before).norm()
    assert torch.equal(logits(model), before)


def test_patterns() -> None:
    model = tiny.build("llama_gqa")
    assert {p.site for p in linears(model, "mlp.*")} == {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
    assert [p.name for p in linears(model, "model.layers.1.*.q_proj, *.0.*.o_proj")] == [
        "model.layers.0.self_attn.o_proj",
        "model.layers.1.self_attn.q_proj",
    ]
    with pytest.raises(SinkscopeError, match=r"matches no linear module.*model\.layers\.0\.self_attn\.q_proj"):
        linears(model, "mlp.nothing")
    with pytest.raises(SinkscopeError, match=r"selects no mlp\.down_proj"):
        probe_of("w8a8-static-down").places(model, "*.q_proj")
    with pytest.raises(SinkscopeError, match=r"selects no mlp\.down_proj"):
        probe_of("w8a8-static-dynamic-down").places(model, "*.q_proj")


def test_static_needs_a_calibration() -> None:
    model = tiny.build("llama_gqa")
    with pytest.raises(SinkscopeError, match="need a calibration"), probed(model, probe_of("w8a8-static")):
        pass


def test_a_scale_per_token_needs_no_calibration_of_the_down_projections() -> None:
    model, probe = tiny.build("llama_gqa"), probe_of("w8a8-static-dynamic-down")
    calibration = calibrate(model, [p for p in linears(model) if p.site != "mlp.down_proj"], BATCHES)
    with probed(model, probe, calibration):
        mixed = logits(model)
    down = next(p for p in linears(model) if p.site == "mlp.down_proj")
    with probed(model, probe, {**calibration, down.name: 1e-6}):  # a range that would round all of it to almost 0
        assert torch.equal(logits(model), mixed)
    assert probe.parts()["weights"] == probe_of("w8")
    assert probe.parts()["activations"] == probe_of("a8-static-dynamic-down")


@pytest.mark.parametrize("name", ["", "w9", "w1a8-dynamic", "a8", "w8a8", "w8-dynamic", "nf4", "w8a8-static-up"])
def test_other_names_are_no_probes(name: str) -> None:
    assert parse_probe(name) is None


def test_an_input_that_several_modules_read_is_rounded_once_and_anew_when_it_changes() -> None:
    model, probe = tiny.build("llama_gqa"), probe_of("a4-dynamic")
    places = [p for p in linears(model) if p.layer == 0 and p.site in ("self_attn.q_proj", "self_attn.k_proj")]
    given: list[Tensor] = []
    with probed(model, probe, None, places), torch.no_grad():
        handles = [p.module.register_forward_hook(lambda _, inputs, __: given.append(inputs[0])) for p in places]
        x = torch.randn(1, 3, 32)
        for place in places:
            place.module(x)
        assert given[0] is given[1]
        x[0, 0] = 0
        places[0].module(x)
        assert torch.equal(given[2][0, 0], torch.zeros(32))
        for handle in handles:
            handle.remove()


def test_granularity_in_words() -> None:
    expected = {
        "w8a8-static-down": "W per channel, A per tensor, down_proj only",
        "w8a8-static-dynamic-down": "W per channel, A per tensor, per token at down_proj",
        "w4g128-asym": "W in groups of 128, asymmetric",
        "a8-dynamic": "A per token",
        "mxfp4": "W and A E2M1 in blocks of 32, scales E8M0",
        "w-nvfp4-a-fp8": "W E2M1 in blocks of 16, scales E4M3 under one float32 per tensor, A E4M3 per token",
    }
    assert {name: probe_of(name).granularity for name in expected} == expected


def test_blocks_that_do_not_divide_are_refused() -> None:
    model = tiny.build("llama_gqa")  # 32 channels, 48 in the MLP
    with pytest.raises(
        SinkscopeError, match=r"blocks of 32 do not divide the 48 inputs of model\.layers\.0\.mlp\.down"
    ):
        probe_of("mxfp4").places(model)
    with pytest.raises(SinkscopeError, match=r"blocks of 64 do not divide the 32 inputs of .*q_proj: choose a group"):
        probe_of("w4g64").places(model)
    assert probe_of("nvfp4").places(model)
    assert probe_of("mxfp4").places(model, "*.q_proj")
