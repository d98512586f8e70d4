import torch
from torch import Tensor
from upstream import moved, require

HOME = "mask_functions"


def test_what_is_relied_on() -> None:
    module = "transformers.masking_utils"
    require(f"{module}:_vmap_expansion_sdpa", HOME, "mask_function")
    require(f"{module}:causal_mask_function", HOME, "batch_idx", "head_idx", "q_idx", "kv_idx")
    require(f"{module}:and_masks", HOME, "mask_functions")
    require(f"{module}:padding_mask_function", HOME, "padding_mask")
    require(f"{module}:prepare_padding_mask", HOME, "attention_mask", "kv_length", "kv_offset")
    require(
        f"{module}:sdpa_mask", HOME, "batch_size", "q_length", "kv_length", "q_offset", "kv_offset", "mask_function",
        "attention_mask", "local_size", "allow_is_causal_skip", "allow_is_bidirectional_skip", "use_vmap", "device",
    )  # fmt: skip
    require("torch._dynamo._trace_wrapped_higher_order_op:TransformGetItemToIndex", HOME)


def test_a_composed_mask_is_the_same_broadcast_and_mapped() -> None:
    from sinkscope.compat.mask_functions import and_masks, causal_mask_function, mapped, padding_mask_function

    padding = torch.tensor([[False, True, True, True], [True, True, True, True]])
    visible = and_masks(causal_mask_function, padding_mask_function(padding))
    sequence, head, at = torch.arange(2), torch.zeros(1, dtype=torch.long), torch.arange(4)
    broadcast = visible(sequence[:, None, None, None], head[:, None, None, None], at[:, None], at[None, :])
    expected = torch.ones(4, 4, dtype=torch.bool).tril()[None, None] & padding[:, None, None]
    assert torch.equal(broadcast, expected), moved("transformers", "a mask function does not broadcast", HOME)
    assert torch.equal(mapped(visible, sequence, head, at, at), expected)


def test_a_mapped_index_may_index_a_tensor() -> None:
    from sinkscope.compat.mask_functions import mapped

    kinds = torch.tensor([0, 0, 1])

    def alike(_sequence: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return kinds[query] == kinds[key]

    one, at = torch.zeros(1, dtype=torch.long), torch.arange(3)
    assert torch.equal(mapped(alike, one, one, at, at)[0, 0], kinds[:, None] == kinds[None])
