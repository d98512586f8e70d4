"""Before rounding, a mitigated model computes what it computed before: logits within 1e-4, in float32."""

from collections.abc import Iterator
from typing import Any

import families
import pytest
import tiny
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.methods.linear_modules import linears
from sinkscope.mitigations.mitigation import Subject
from sinkscope.mitigations.registry import mitigation_of
from sinkscope.passes.batches import batches_of

PLAIN = [
    "llama_mha",
    "llama_gqa",
    "qwen2",
    "qwen3",
    "mistral_window",
    "granite",
    "smollm3",
    "seed_oss",
    "gemma",
    "ministral",
]
MOVING = ["smooth", "smooth-0.9", "rotate"]
IDS = torch.randint(3, 258, (3, 40), generator=torch.Generator().manual_seed(0))


def subject(model: PreTrainedModel, **more: Any) -> Subject:
    return Subject(model, "tiny", batches_of(IDS[:2], None, 1), IDS, tiny.tokenizer(), **more)


@torch.no_grad()
def logits(model: PreTrainedModel, ids: Tensor = IDS) -> Tensor:
    found: Tensor = model(input_ids=ids, use_cache=False).logits
    return found


def variant(name: str, model: PreTrainedModel, **more: Any) -> "Iterator[Any]":
    mitigation = mitigation_of(name)
    assert mitigation is not None
    return mitigation.variants(subject(model, **more), {})


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("mitigation", MOVING)
@pytest.mark.parametrize("name", PLAIN)
def test_weights_move_and_logits_stay(name: str, mitigation: str, tied: bool) -> None:
    model = families.tiny(name, tie_word_embeddings=tied)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    exact = logits(model)
    changed = next(variant(mitigation, model)).model
    assert changed is not model
    assert (logits(changed) - exact).abs().max() < 1e-4
    moved = dict(zip([p.name for p in linears(model)], linears(changed), strict=True))
    assert all(
        not torch.allclose(place.module.weight, model.get_submodule(name).weight) for name, place in moved.items()
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.config.tie_word_embeddings is tied
