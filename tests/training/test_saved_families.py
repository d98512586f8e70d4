"""A checkpoint of whole weights comes back to the same bits, whatever names a family is saved under."""

from pathlib import Path

import families
import pytest
import tiny
import torch

from sinkscope.errors import SinkscopeError
from sinkscope.training.save import whole_saver
from sinkscope.vscale.attach import attach_

RENAMED = ["gpt_neox", "mixtral", "olmoe", "qwen3_moe"]
"""Whose weights transformers saves under other names, or in other shapes, than the model has them."""


@pytest.mark.parametrize("valved", [False, True])
@pytest.mark.parametrize("name", ["llama_gqa", *RENAMED])
def test_weights_come_back_to_the_same_bits(name: str, valved: bool, tmp_path: Path) -> None:
    model = families.tiny(name)
    if valved:
        try:
            attach_(model)
        except SinkscopeError as error:
            pytest.skip(str(error))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    saver = whole_saver(model, tiny.tokenizer())
    saver.save(tmp_path / "model", dict(before))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    saver.load_(model, tmp_path / "model")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
