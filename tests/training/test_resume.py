"""A run that was cut off and resumed ends in the very same weights as one that was not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sinkscope.config import load_recipe
from sinkscope.errors import SinkscopeError
from sinkscope.training import loop
from sinkscope.training.checkpoint import latest_checkpoint

RECIPE = """
name = "tiny"
[model]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 8
[tokenizer]
vocab_size = 270
[data]
source = "{source}"
tokens = 16
holdout = 4
valid_sequences = 2
[optimizer]
lr = 1e-2
batch_sequences = 2
[schedule]
steps = 12
warmup = 2
[checkpoint]
every = 4
evaluate = 6
"""


@pytest.fixture
def recipe(tmp_path: Path) -> loop.Recipe:
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": f"document {n} and {n * n} more words"}) for n in range(40)))
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(source=text))
    return load_recipe(path)


def test_resumes_to_the_same_weights(recipe: loop.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_file(loop.pretrain(recipe, tmp_path / "whole") / "model.safetensors")
    seen: list[int] = []
    plain = loop.batch_indices

    def cut_off(step: int, batch: int, windows: int, seed: int) -> torch.Tensor:
        seen.append(step)
        if step == 10:
            raise KeyboardInterrupt
        return plain(step, batch, windows, seed)

    monkeypatch.setattr(loop, "batch_indices", cut_off)
    with pytest.raises(KeyboardInterrupt):
        loop.pretrain(recipe, tmp_path / "cut")
    monkeypatch.setattr(loop, "batch_indices", plain)
    checkpoint = latest_checkpoint(tmp_path / "cut" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "step-000008"
    resumed = load_file(loop.pretrain(recipe, tmp_path / "cut", resume=True) / "model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_refuses_to_resume_with_other_settings(recipe: loop.Recipe, tmp_path: Path) -> None:
    from dataclasses import replace

    loop.pretrain(recipe, tmp_path / "run")
    with pytest.raises(SinkscopeError, match="other settings in \\[seed\\]"):
        loop.pretrain(replace(recipe, seed=1), tmp_path / "run", resume=True)
    with pytest.raises(SinkscopeError, match="already holds a training run"):
        loop.pretrain(recipe, tmp_path / "run")
