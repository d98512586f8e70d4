import pytest
import torch
from upstream import moved, require

HOME = "bitsandbytes_modules"
pytest.importorskip("bitsandbytes")


def test_what_is_relied_on_of_4_bit_modules() -> None:
    make = require("bitsandbytes.nn.modules:Linear4bit", HOME)
    require("bitsandbytes.functional:QuantState", HOME, "absmax", "shape", "code", "blocksize", "quant_type", "dtype")
    require("bitsandbytes.functional:dequantize_4bit", HOME, "A", "quant_state")
    module = make(64, 64, bias=False, quant_type="nf4", compute_dtype=torch.float32).to("cpu")
    what = "a 4-bit module has no {}"
    for name in ("support_avx512bf16_for_cpu", "compute_dtype", "in_features"):
        assert hasattr(module, name), moved("bitsandbytes", what.format(name), HOME)
    assert hasattr(module.weight, "quant_state"), moved("bitsandbytes", what.format("weight.quant_state"), HOME)


def test_a_repaired_module_computes_what_its_weight_stands_for() -> None:
    from sinkscope.compat.bitsandbytes_modules import dequantized, repair_

    make, parameter = (require(f"bitsandbytes.nn.modules:{name}", HOME) for name in ("Linear4bit", "Params4bit"))
    torch.manual_seed(0)
    for width in (64, 96):  # a multiple of the block size, and not
        exact = torch.randn(64, width)
        module = make(width, 64, bias=False, quant_type="nf4", compute_dtype=torch.float32)
        module.weight = parameter(
            exact.clone(), requires_grad=False, quant_type="nf4", compress_statistics=False, module=module
        )
        module = module.to("cpu")  # which is what quantizes it
        repair_(module)
        value = dequantized(module.weight)
        error = float((value - exact).norm() / exact.norm())
        assert error < 0.12, moved("bitsandbytes", f"weights of width {width} come back wrong by {error:.2f}", HOME)
        x = torch.randn(3, width)
        with torch.no_grad():
            torch.testing.assert_close(module(x), x @ value.T, rtol=1e-4, atol=1e-4)


def test_what_an_8_bit_module_keeps_is_forgotten() -> None:
    from sinkscope.compat.bitsandbytes_modules import forget_quantized_

    make = require("bitsandbytes.nn.modules:Linear8bitLt", HOME)
    module = make(8, 8, has_fp16_weights=False)
    for name in ("CB", "SCB"):
        assert hasattr(module.state, name), moved("bitsandbytes", f"an 8-bit module's state has no {name}", HOME)
    module.state.CB = module.state.SCB = torch.zeros(1)
    module.forward = None
    forget_quantized_(module)
    assert module.state.CB is None
    assert module.state.SCB is None
    assert "forward" not in module.__dict__
