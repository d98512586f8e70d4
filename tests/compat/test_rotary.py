"""Where a model's rotation is found, and where the length of a cache is."""

import inspect
from typing import Any

import pytest
import torch
from families import tiny
from transformers import DynamicCache

from sinkscope.compat.read_before import KEYWORDS, read_before
from sinkscope.compat.rotary import rotation_of
from sinkscope.models.families import family_of
from sinkscope.vscale.attach import attention_modules


@pytest.mark.parametrize("name", ["llama_gqa", "gemma3_text", "gpt_neox", "cohere", "glm", "phi3"])
def test_a_rotation_keeps_lengths_and_adds_up(name: str) -> None:
    """By cosines and sines as the attention is handed them: turning by one angle, then back, changes nothing."""
    model = tiny(name)
    module, tables = attention_modules(model)[0], []
    handle = module.register_forward_pre_hook(
        lambda _module, _args, kwargs: tables.append(kwargs["position_embeddings"]), with_kwargs=True
    )
    with torch.no_grad():
        model(input_ids=torch.arange(6)[None], use_cache=False)
    handle.remove()
    (cos, sin), rotate = tables[0], rotation_of(module)
    assert rotate is not None
    x = torch.randn(1, 4, 6, cos.shape[-1])
    turned = rotate(x, cos, sin)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(rotate(turned, cos, -sin), x)
    assert not torch.allclose(turned[:, :, 1:], x[:, :, 1:])


def test_a_model_without_a_rotation_has_none() -> None:
    assert rotation_of(attention_modules(tiny("gpt2"))[0]) is None


@pytest.mark.parametrize("name", ["llama_gqa", "gemma2", "gpt_neox", "gpt2", "falcon_two_norms", "opt"])
def test_a_decoder_is_handed_its_cache_under_a_known_name(name: str) -> None:
    model, seen = tiny(name), []
    forward = inspect.signature(model.forward).parameters
    keyword = next(keyword for keyword in KEYWORDS if keyword in forward)

    def look(_module: Any, _args: Any, kwargs: Any) -> None:
        seen.append(read_before(kwargs))

    family_of(model).decoder(model).register_forward_pre_hook(look, with_kwargs=True)
    options: dict[str, Any] = {keyword: DynamicCache(config=model.config), "use_cache": True}
    with torch.no_grad():
        for length in (5, 2, 1):
            model(input_ids=torch.arange(length)[None], **options)
        model(input_ids=torch.arange(4)[None], use_cache=False)
    assert seen == [0, 5, 7, 0]
