"""Weights that are stored quantized are read as they were meant, or refused by the method's name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import load_model
from sinkscope.loading.resolve import resolve
from sinkscope.planning.plan import plan

BLOCK = 20  # divides neither 32 nor 48
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def configure(folder: Path, **described: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": described}))


def rounded(weight: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """A weight in fp8, the scales of its blocks, and what the two stand for, block by block."""
    codes, meant = torch.zeros_like(weight).to(torch.float8_e4m3fn), torch.zeros_like(weight)
    scales = torch.zeros(-(-weight.shape[0] // size), -(-weight.shape[1] // size))
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            place = slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size)
            scales[i, j] = weight[place].abs().max() / 448
            codes[place] = (weight[place] / scales[i, j]).to(torch.float8_e4m3fn)
            meant[place] = codes[place].float() * scales[i, j]
    return codes, scales, meant


@pytest.fixture
def fp8(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A model in blocks of fp8, and what its weights stand for."""
    folder = tiny.save(tiny.build("llama_gqa"), tmp_path / "fp8")
    stored, meant = {}, {}
    for name, weight in load_file(folder / "model.safetensors").items():
        stored[name] = meant[name] = weight
        if any(f"{projection}.weight" in name for projection in PROJECTIONS):
            stored[name], stored[f"{name}_scale_inv"], meant[name] = rounded(weight, BLOCK)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    configure(folder, quant_method="fp8", activation_scheme="dynamic", weight_block_size=[BLOCK, BLOCK],
              modules_to_not_convert=["lm_head"])  # fmt: skip
    return folder, meant


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_fp8_is_expanded_block_by_block_without_a_gpu(dtype: str, fp8: tuple[Path, dict[str, Tensor]]) -> None:
    folder, meant = fp8
    loaded = load_model(str(folder), device="cpu", dtype=dtype)
    for name, weight in loaded.model.state_dict().items():
        torch.testing.assert_close(weight, meant[name], atol=1e-7, rtol=1e-6)
    assert loaded.quantization == "fp8"
    assert [deviation["kind"] for deviation in loaded.description["deviations"]] == ["dequantized"]


def test_scales_of_other_blocks_are_refused(fp8: tuple[Path, dict[str, Tensor]]) -> None:
    folder, _ = fp8
    configure(folder, quant_method="fp8", activation_scheme="dynamic", weight_block_size=[8, 8],
              modules_to_not_convert=["lm_head"])  # fmt: skip
    with pytest.raises(SinkscopeError, match=r"cannot be read: .*scales \[\d, \d\] of a weight .* in blocks"):
        load_model(str(folder), device="cpu")


@pytest.mark.parametrize("described", [{"quant_method": "evil"}, {"quant_method": "modelopt", "quant_algo": "FP8"}, {}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_method_that_nobody_knows_is_refused_by_name(
    described: dict[str, Any], stream: bool, broken: Callable[..., Path]
) -> None:
    folder = broken()
    configure(folder, **described)
    method = described.get("quant_method", "unknown")
    with pytest.raises(SinkscopeError, match=f"stored quantized by '{method}', .*known: .*compressed-tensors"):
        load_model(str(folder), stream=stream)
    assert any(f"'{method}'" in warning for warning in plan(str(folder), tokens=32).warnings)
    assert resolve(str(folder)).unsupported is not None


@pytest.mark.parametrize("asked", ["flash_attention_2", "kernels-community/flash-attn", "flex_attention"])
def test_attention_that_config_asks_for_does_not_matter(asked: str, broken: Callable[..., Path]) -> None:
    folder = broken()
    ids = torch.arange(2, 34)[None]
    with torch.no_grad():
        expected = load_model(str(folder)).model(input_ids=ids).logits
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "_attn_implementation": asked}))
        found = load_model(str(folder)).model(input_ids=ids).logits
    assert torch.equal(found, expected)
    assert plan(str(folder), tokens=32).choice.fits
    assert load_model(str(folder), stream=True).weights is not None
