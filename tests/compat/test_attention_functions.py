import tiny
import torch
from upstream import moved, require

HOME = "attention_functions"
VALVED = ("sdpa", "flash_attention_2", "flash_attention_3")


def test_what_is_relied_on() -> None:
    table = require("transformers.modeling_utils:ALL_ATTENTION_FUNCTIONS", HOME)
    masks = require("transformers.masking_utils:ALL_MASK_ATTENTION_FUNCTIONS", HOME)
    sdpa = require(
        "transformers.integrations.sdpa_attention:sdpa_attention_forward", HOME,
        "module", "query", "key", "value", "attention_mask", "dropout", "scaling", "is_causal",
    )  # fmt: skip
    require("transformers.models.llama.modeling_llama:eager_attention_forward", HOME, "module", "query", "key", "value")
    for name in VALVED:
        assert name in table.valid_keys(), moved("transformers", f"there is no attention {name}", HOME)
    for name in ("eager", *VALVED):
        assert name in masks.valid_keys(), moved("transformers", f"there is no mask function {name}", HOME)
    assert table["sdpa"] is sdpa


def test_both_functions_compute_the_same_attention() -> None:
    from sinkscope.compat.attention_functions import attention_function, mask_function

    module = tiny.build("llama_gqa").model.layers[0].self_attn
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, heads, 6, 8) for heads in (4, 2, 2))
    mask = torch.full((6, 6), torch.finfo(torch.float32).min).triu(1)[None, None]
    outputs = [
        attention_function(module, name)(module, q, k, v, mask, scaling=8**-0.5, dropout=0.0)[0]
        for name in ("eager", "sdpa")
    ]
    assert outputs[0].shape == (2, 6, 4, 8), moved("transformers", "attention returns another layout", HOME)
    torch.testing.assert_close(*outputs)
    assert callable(mask_function("eager"))
