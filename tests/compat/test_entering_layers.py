"""Decoder layers are given hidden states first and return them alone or first in a tuple; passes can begin at one."""

import families
import pytest
import torch

from sinkscope.compat.entering_layers import entered_at, watched
from sinkscope.models.families import family_of

IDS = torch.arange(2, 14).view(1, 12)


@pytest.mark.parametrize("kind", ["llama_gqa", "gemma3_text", "falcon_two_norms", "gpt2"])
@torch.no_grad()
def test_a_pass_begins_at_a_layer(kind: str) -> None:
    model = families.tiny(kind)
    layers = family_of(model).decoder_layers(model)
    states: dict[int, torch.Tensor] = {}
    lengths: list[int | None] = [None] * len(layers)

    def note(number: int, hidden: torch.Tensor | None, length: int | None) -> None:
        assert hidden is not None
        states[number], lengths[number] = hidden, length

    with watched(layers, note):
        whole = model(input_ids=IDS, use_cache=False).logits
    with entered_at(layers, 2, states[2], lengths):
        assert torch.equal(model(input_ids=IDS, use_cache=False).logits, whole)
        assert torch.equal(model(input_ids=IDS.flip(1), use_cache=False).logits, whole)  # the text is not read again
    with entered_at(layers, 1, 2 * states[1], lengths):
        assert not torch.equal(model(input_ids=IDS, use_cache=False).logits, whole)
    assert torch.equal(model(input_ids=IDS, use_cache=False).logits, whole)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)
    assert "forward" not in vars(layers[0])
