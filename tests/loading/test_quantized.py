"""Models with 4-bit weights: on a CPU they stand for the values that NF4 defines, and a checkpoint keeps them."""

from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor

from sinkscope.compat.bitsandbytes_modules import dequantized
from sinkscope.loading.load import load_model

# The 16 values of NF4: arXiv:2305.14314, appendix E.
NF4 = [
    *(-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0),
    *(0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0),
]


def reference(weight: Tensor) -> Tensor:
    """Blocks of 64 through the whole matrix, each value to the nearest of the 16."""
    blocks = weight.flatten().split(64)
    code = torch.tensor(NF4)
    rounded = []
    for block in blocks:
        largest = block.abs().max()
        rounded.append(code[((block / largest)[:, None] - code).abs().argmin(1)] * largest)
    return torch.cat(rounded).reshape(weight.shape)


@pytest.mark.parametrize("gradients", [True, False])
def test_modules_compute_with_the_values_of_nf4(gradients: bool, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    exact = tiny.build("llama_gqa", intermediate_size=96)  # rows of 32 and of 96: neither a multiple of 64
    tiny.save(exact, tmp_path / "model")
    model = load_model(str(tmp_path / "model"), quantize="nf4", device="cpu").model
    for path in ("mlp.down_proj", "mlp.up_proj"):
        name = f"model.layers.0.{path}"
        expected = reference(exact.get_submodule(name).weight.detach())
        torch.testing.assert_close(dequantized(model.get_submodule(name).weight), expected, atol=1e-5, rtol=1e-4)
        x = torch.randn(3, expected.shape[1])
        with torch.set_grad_enabled(gradients):
            found = model.get_submodule(name)(x)
        torch.testing.assert_close(found, x @ expected.T, atol=1e-4, rtol=1e-3)


def test_a_quantized_checkpoint_keeps_its_quantization(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    tiny.save(tiny.build("llama_gqa", intermediate_size=96), tmp_path / "model")
    model = load_model(str(tmp_path / "model"), quantize="nf4", device="cpu").model
    ids = torch.arange(2, 34)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    tiny.save(model, tmp_path / "quantized")
    loaded = load_model(str(tmp_path / "quantized"), device="cpu")
    assert loaded.quantization == "bitsandbytes"
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(input_ids=ids).logits, expected)
