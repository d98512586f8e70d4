"""A retrofitted model survives the disk, whole or as an adapter, and a mismatch is refused in a line."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

import sinkscope
from sinkscope.cli import main
from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import load_model
from sinkscope.vscale import attach_, attached, save

IDS = torch.arange(24)[None]


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny.save(tiny.build("llama_gqa"), tmp_path / "base")


@pytest.fixture
def model(base: Path) -> PreTrainedModel:
    model = attach_(sinkscope.load(base))
    for layer, valve in enumerate(attached(model)):
        valve.theta.data = torch.tensor([0.5, -1.0]) * (layer + 1)
    return model


def test_a_whole_model_comes_back_and_others_read_it_as_the_plain_one(
    model: PreTrainedModel, base: Path, tmp_path: Path
) -> None:
    folder = save(model, tmp_path / "whole")
    tiny.tokenizer().save_pretrained(folder)
    loaded = sinkscope.load(folder)
    assert [v.theta.tolist() for v in attached(loaded)] == [v.theta.tolist() for v in attached(model)]
    assert torch.equal(logits(loaded), logits(model))
    assert load_file(folder / "model.safetensors").keys() == load_file(base / "model.safetensors").keys()
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(folder)), logits(sinkscope.load(base)))


def test_an_adapter_is_kilobytes_and_finds_its_base(model: PreTrainedModel, base: Path, tmp_path: Path) -> None:
    folder = save(model, tmp_path / "adapter", base=load_model(str(base)).description)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5000
    assert torch.equal(logits(sinkscope.load(folder)), logits(model))


def test_an_adapter_refuses_other_weights(model: PreTrainedModel, base: Path, tmp_path: Path) -> None:
    folder = save(model, tmp_path / "adapter", base=load_model(str(base)).description)
    tiny.save(tiny.build("llama_gqa", seed=1), base)
    with pytest.raises(SinkscopeError, match="V-scale for other weights"):
        sinkscope.load(folder)


@pytest.mark.usefixtures("undrawn")
def test_every_verb_takes_it(model: PreTrainedModel, base: Path, tmp_path: Path) -> None:
    folder = save(model, tmp_path / "adapter", base=load_model(str(base)).description)
    out = tmp_path / "run"
    assert main(["analyze", str(folder), "--sequences", "2", "--tokens", "32", "--out", str(out)]) == 0
    run = sinkscope.read_run(out)
    assert run["vscale"]["theta"].tolist() == [0.5, -1.0, 1.0, -2.0]
    assert run.info["model"]["vscale"] == "learned"


def test_a_model_saved_without_its_description_is_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    tiny.save(model, tmp_path / "plain")
    with pytest.raises(SinkscopeError, match=r"save such a model with sinkscope\.vscale\.save"):
        sinkscope.load(tmp_path / "plain")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda f: (f / "vscale.safetensors").write_bytes(b"cut"), "not a whole safetensors file"),
        (lambda f: (f / "vscale.safetensors").unlink(), "missing or not a whole"),
        (lambda f: (f / "vscale.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "vscale.json").write_text(json.dumps({"format": 99})), "'format' must be one of 1, not 99"),
        (
            lambda f: save_file({"0.theta": torch.zeros(2), "0.scale": torch.ones(2)}, f / "vscale.safetensors"),
            "2 layers",
        ),
        (lambda f: save_file({"0.theta": torch.zeros(2)}, f / "vscale.safetensors"), "theta and scale of every layer"),
    ],
)
def test_damaged_files_are_told(model: PreTrainedModel, tmp_path: Path, damage: object, complaint: str) -> None:
    folder = save(model, tmp_path / "whole")
    tiny.tokenizer().save_pretrained(folder)
    damage(folder)  # type: ignore[operator]
    with pytest.raises(SinkscopeError, match=complaint):
        sinkscope.load(folder)


def test_a_bare_model_is_not_saved_as_one(base: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkscopeError, match="no V-scale"):
        save(sinkscope.load(base), tmp_path / "none")
