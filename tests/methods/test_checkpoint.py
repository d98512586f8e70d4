"""A checkpoint of compressed-tensors computes what its probe computed; what has no scheme there is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from sinkscope.errors import RequestError
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, parse_probe
from sinkscope.passes.batches import batches_of
from sinkscope.vscale import attach_

pytest.importorskip("compressed_tensors")

from sinkscope.methods.checkpoint.schemes import CAN, obstacle_of
from sinkscope.methods.checkpoint.write import Written, write_checkpoint

IDS = torch.arange(2, 50).view(3, 16)
ALIKE = ["w4g16", "w4", "w3g16", "w8", "fp8", "fp8-static", "fp8-tensor-static", "w-fp8", "w-fp8-tensor"]
"""Whatever is rounded here, the library rounds alike."""


def calibrated_on(model: PreTrainedModel, name: str) -> CalibratedProbe:
    probe = parse_probe(name)
    assert probe is not None
    largest = calibrate(model, linears(model), batches_of(IDS, None, 3))
    return CalibratedProbe(name, probe, probe.places(model), largest)


def written(model: PreTrainedModel, calibrated: CalibratedProbe, folder: Path) -> Written:
    folder.mkdir()
    return write_checkpoint(model, calibrated, tiny.tokenizer(), folder)


def read(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder).eval()
    return model


@torch.no_grad()
def logits(model: PreTrainedModel) -> Tensor:
    found: Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("name", ALIKE)
def test_what_is_read_back_computes_what_the_probe_computed(name: str, tmp_path: Path) -> None:
    model = tiny.build("llama_gqa")
    before, calibrated = logits(model), calibrated_on(model, name)
    with calibrated.entered(model):
        rounded = logits(model)
    assert written(model, calibrated, tmp_path / "saved").split == ""
    assert (rounded - before).abs().max() > 1e-3
    assert torch.allclose(logits(read(tmp_path / "saved")), rounded, rtol=0, atol=1e-5)
    assert torch.equal(logits(model), before)  # the model itself stays


@contextmanager
def with_inputs(calibrated: CalibratedProbe) -> Iterator[None]:
    """Inputs in 8 bits as the library rounds them, slowly: codes from -128, scales of tokens largest / 127.5."""

    def hook(scale: float | None) -> Any:
        def rounds(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = inputs[0]
            step = x.abs().amax(-1, keepdim=True) / 127.5 if scale is None else scale
            return ((x / step).clamp(-128, 127).round() * step,)

        return rounds

    static = calibrated.probe.static
    handles = [
        place.module.register_forward_pre_hook(hook(calibrated.calibration[place.name] / 127 if static else None))
        for place in calibrated.places
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("name", ["w8a8-static", "w8a8-dynamic", "w4g16-a8-dynamic", "w8a8-static-down"])
def test_integer_inputs_are_rounded_by_whoever_runs_the_checkpoint(name: str, tmp_path: Path) -> None:
    """By one code of 255 at most, the rest is the probe's own."""
    model = tiny.build("llama_gqa")
    calibrated = calibrated_on(model, name)
    written(model, calibrated, tmp_path / "saved")
    alone = CalibratedProbe(name, calibrated.probe.parts()["weights"], calibrated.places, calibrated.calibration)
    with alone.entered(model), with_inputs(calibrated):
        expected = logits(model)
    with calibrated.entered(model):
        rounded = logits(model)
    found = logits(read(tmp_path / "saved"))
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    assert (found - rounded).abs().mean() < (rounded - logits(model)).abs().mean() * 1.5


def test_the_folder_is_whole(tmp_path: Path) -> None:
    model = tiny.build("llama_gqa")
    calibrated = calibrated_on(model, "w8a8-static-down")
    assert written(model, calibrated, tmp_path / "saved").format == "int-quantized"
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    said = json.loads((tmp_path / "saved" / "config.json").read_text())["quantization_config"]
    assert said["quant_method"] == "compressed-tensors"
    assert "lm_head" in said["ignore"]
    assert "model.layers.0.self_attn.q_proj" in said["ignore"]
    assert "model.layers.0.mlp.down_proj" not in said["ignore"]


def test_scales_are_kept_in_the_dtype_of_the_model(tmp_path: Path) -> None:
    """So a scale in bfloat16 is off by up to 2^-9 of itself, and with it a weight."""
    model = tiny.build("llama_gqa").to(torch.bfloat16)
    calibrated = calibrated_on(model, "w4g16")
    written(model, calibrated, tmp_path / "saved")
    loaded = read(tmp_path / "saved")
    logits(loaded)  # unpacks
    with calibrated.entered(model):
        for place in calibrated.places:
            exact = place.module.weight.float()
            found = loaded.get_submodule(place.name).weight.float()  # type: ignore[union-attr, operator]
            assert ((found - exact).abs() <= exact.abs() * 2**-7).all()


def test_a_module_that_vllm_fuses_with_others_is_named(tmp_path: Path) -> None:
    model = tiny.build("llama_gqa")
    calibrated = calibrated_on(model, "w4g16")
    kept = [place for place in calibrated.places if place.site != "self_attn.v_proj"]
    few = CalibratedProbe("w4g16", calibrated.probe, kept, calibrated.calibration)
    assert written(model, few, tmp_path / "saved").split == "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a8-static", "no weight to store"),
        ("w4g16-asym", "zero points"),
        ("fp8e5m2", "no E5M2"),
        ("w-mxfp6e3m2", "no E3M2"),
        ("nvfp4", "one float32 scale"),
        ("w-nvfp4", "one float32 scale"),
        ("mxfp4", "w-mxfp4 saves weights"),
        ("w4a4-dynamic", "few bits"),
        ("w4a8-static", "w8a8 and fp8 alone"),
        ("w8a8-static-dynamic-down", "one scheme for all modules"),
        ("fp8-static-dynamic-down", "one scheme for all modules"),
        ("w8g32-a8-dynamic", "by channel"),
        ("w-fp8-a-nvfp4", "one float32 scale"),
    ],
)
def test_what_has_no_scheme(name: str, said: str, tmp_path: Path) -> None:
    probe = parse_probe(name)
    assert probe is not None
    assert said in obstacle_of(probe)
    model = tiny.build("llama_gqa")
    with pytest.raises(RequestError, match=said):
        write_checkpoint(model, CalibratedProbe(name, probe, [], {}), tiny.tokenizer(), tmp_path)


def test_what_is_said_to_be_saveable_is() -> None:
    named = [word for word in CAN.replace(",", "").split() if parse_probe(word) is not None]
    assert len(named) > 8
    assert [name for name in named if obstacle_of(parse_probe(name))] == []  # type: ignore[arg-type]


def test_models_that_cannot_be_saved(tmp_path: Path) -> None:
    model = tiny.build("llama_gqa", hidden_size=64, intermediate_size=64)
    with pytest.raises(RequestError, match="dtype=bfloat16"):
        write_checkpoint(model, calibrated_on(model, "w-mxfp4"), tiny.tokenizer(), tmp_path)
    halved = model.to(torch.bfloat16)
    calibrated = calibrated_on(halved, "w-mxfp4")
    written(halved, calibrated, tmp_path / "saved")
    with calibrated.entered(halved):
        rounded = logits(halved)
    assert torch.allclose(logits(read(tmp_path / "saved")), rounded, rtol=0, atol=0.05)  # sums in bfloat16
    valved = attach_(tiny.build("llama_gqa"))
    with pytest.raises(RequestError, match="V-scale is no part"):
        write_checkpoint(valved, calibrated_on(valved, "w4"), tiny.tokenizer(), tmp_path)
