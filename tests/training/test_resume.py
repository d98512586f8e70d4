"""A run that was cut off and resumed ends in the very same weights as one that was not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sinkscope.errors import SinkscopeError
from sinkscope.pretraining.run import pretrain
from sinkscope.training import loop
from sinkscope.training.checkpoint import checkpoints
from sinkscope.training.recipe import Recipe


def test_resumes_to_the_same_weights(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_file(pretrain(recipe, tmp_path / "whole") / "model.safetensors")
    seen: list[int] = []
    plain = loop.batch_indices

    def cut_off(step: int, batch: int, windows: int, seed: int) -> torch.Tensor:
        seen.append(step)
        if step == 10:
            raise KeyboardInterrupt
        return plain(step, batch, windows, seed)

    monkeypatch.setattr(loop, "batch_indices", cut_off)
    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe, tmp_path / "cut")
    monkeypatch.setattr(loop, "batch_indices", plain)
    assert [path.name for path in checkpoints(tmp_path / "cut" / "checkpoints")] == ["step-000004", "step-000008"]
    resumed = load_file(pretrain(recipe, tmp_path / "cut", resume=True) / "model.safetensors")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_refuses_to_resume_with_other_settings(recipe: Recipe, tmp_path: Path) -> None:
    pretrain(recipe, tmp_path / "run")
    with pytest.raises(SinkscopeError, match="other settings in seed"):
        pretrain(replace(recipe, seed=1), tmp_path / "run", resume=True)
    with pytest.raises(SinkscopeError, match="already holds a training run"):
        pretrain(recipe, tmp_path / "run")
