"""transformers' table of quantization methods, and its expansion of fp8 weights."""

import pytest
import torch
from upstream import require

HOME = "stored_quantization"


def test_what_is_relied_on() -> None:
    table = require("transformers.quantizers.auto:AUTO_QUANTIZATION_CONFIG_MAPPING", HOME)
    assert {"gptq", "fp8", "mxfp8", "bitsandbytes_4bit", "compressed-tensors"} <= set(table)
    home = "transformers.integrations.finegrained_fp8:Fp8Dequantize"
    require(f"{home}._dequantize_one", HOME, "self", "quantized", "scales", "output_dtype")


def test_a_scale_for_a_whole_tensor() -> None:
    from sinkscope.compat.stored_quantization import expand_blocks

    weight = torch.tensor([[1.0, -2.0, 448.0]]).to(torch.float8_e4m3fn)
    expected = torch.tensor([[0.5, -1.0, 224.0]])
    assert torch.equal(expand_blocks(weight, torch.tensor([0.5]), None, torch.float32), expected)
    with pytest.raises(ValueError, match="no 'weight_block_size'"):
        expand_blocks(weight, torch.ones(3), None, None)
    with pytest.raises(ValueError, match="in blocks of"):
        expand_blocks(weight, torch.ones(1, 1), (1, 2), None)


def test_blocks_that_do_not_divide() -> None:
    from sinkscope.compat.stored_quantization import expand_blocks

    weight = torch.ones(5, 3).to(torch.float8_e4m3fn)
    scales = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    found = expand_blocks(weight, scales, (2, 2), torch.float32)
    assert found.tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4], [3, 3, 4], [5, 5, 6]]
