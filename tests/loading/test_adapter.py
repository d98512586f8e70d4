"""An adapter beside a model is left out or merged because somebody said so, and never because peft is installed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import ModelSource
from sinkscope.loading.load import load_model

IDS = torch.arange(2, 34)[None]
RANK, ALPHA = 3, 6
NAME = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with a low-rank adapter of its queries beside it."""
    place = tiny.save(tiny.build("llama_gqa"), tmp_path / "model")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "target_modules": ["q_proj"],
        "base_model_name_or_path": "nowhere/at-all",
    }  # fmt: skip
    (place / "adapter_config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    shapes = {"A": (RANK, 32), "B": (32, RANK)}
    save_file({NAME.format(i, a): torch.randn(s) for i in range(2) for a, s in shapes.items()},
              place / "adapter_model.safetensors")  # fmt: skip
    return place


def query(folder: Path, layer: int = 0, **options: Any) -> torch.Tensor:
    model = load_model(str(folder), device="cpu", **options).model
    return model.get_submodule(f"model.layers.{layer}.self_attn").q_proj.weight.detach()


def without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("transformers.integrations.peft", "transformers.models.auto.auto_factory"):
        monkeypatch.setattr(f"{place}.is_peft_available", lambda: False)
    monkeypatch.setitem(sys.modules, "peft", None)


@pytest.mark.parametrize("peft", [True, False])
def test_it_is_refused_until_somebody_says_what_it_is(
    peft: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not peft:
        without_peft(monkeypatch)
    for stream in (False, True):
        with pytest.raises(SinkscopeError, match=r"holds an adapter .*`adapter=merge`.*`adapter=ignore`"):
            load_model(str(folder), stream=stream)


@pytest.mark.parametrize("peft", [True, False])
def test_what_is_ignored_is_ignored_and_recorded(peft: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not peft:
        without_peft(monkeypatch)
    stored = load_file(folder / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    assert torch.equal(query(folder, adapter="ignore"), stored)
    described = load_model(str(folder), adapter="ignore").description
    assert [deviation["kind"] for deviation in described["deviations"]] == ["adapter"]
    assert load_model(str(folder), adapter="ignore", stream=True).deviations


def test_what_is_merged_is_the_sum_and_another_model(folder: Path) -> None:
    pytest.importorskip("peft")
    stored, added = load_file(folder / "model.safetensors"), load_file(folder / "adapter_model.safetensors")
    for layer in range(2):
        expected = stored[f"model.layers.{layer}.self_attn.q_proj.weight"] + ALPHA / RANK * (
            added[NAME.format(layer, "B")] @ added[NAME.format(layer, "A")]
        )
        torch.testing.assert_close(query(folder, layer, adapter="merge"), expected)
    plain, merged = (load_model(str(folder), adapter=how) for how in ("ignore", "merge"))
    assert not any("lora" in name for name, _ in merged.model.named_modules())
    assert plain.weights_sha256 == merged.weights_sha256
    assert plain.sha256 != merged.sha256
    assert merged.description["adapter_sha256"] == merged.adapter_sha256
    save_file({key: tensor + 1 for key, tensor in added.items()}, folder / "adapter_model.safetensors")
    assert load_model(str(folder), adapter="merge").sha256 != merged.sha256


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"peft_type": "IA3", "feedforward_modules": []}, "only LoRA's can be merged"),
        ({"target_modules": ["k_proj"]}, "cannot be merged|of another model"),
        ({"target_modules": ["nowhere"]}, "cannot be merged"),
        ({"peft_type": "SOMETHING"}, "cannot be merged"),
    ],
)
def test_what_cannot_be_merged(change: dict[str, Any], complaint: str, folder: Path) -> None:
    pytest.importorskip("peft")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(SinkscopeError, match=complaint):
        load_model(str(folder), adapter="merge")


def test_an_adapter_of_fewer_layers_is_of_another_model(folder: Path) -> None:
    pytest.importorskip("peft")
    added = load_file(folder / "adapter_model.safetensors")
    save_file({key: tensor for key, tensor in added.items() if ".0." in key}, folder / "adapter_model.safetensors")
    with pytest.raises(SinkscopeError, match="of another model"):
        load_model(str(folder), adapter="merge")


def test_merging_needs_weights_that_are_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="leave out `stream` and `quantize`"):
        load_model(str(folder), adapter="merge", stream=True)
    with pytest.raises(RequestError, match="`adapter` is refuse, ignore or merge"):
        ModelSource(str(folder), adapter="apply")
    without_peft(monkeypatch)
    with pytest.raises(RequestError, match="needs the package peft"):
        load_model(str(folder), adapter="merge")
    (folder / "adapter_config.json").unlink()
    with pytest.raises(RequestError, match=r"has no adapter_config\.json to merge"):
        load_model(str(folder), adapter="merge")


def test_one_of_the_hub_is_seen_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--owner--model" / "snapshots" / commit
    place.parent.mkdir(parents=True)
    folder.rename(place)
    with pytest.raises(SinkscopeError, match="owner/model holds an adapter"):
        load_model("owner/model", revision=commit)
    assert load_model("owner/model", revision=commit, adapter="ignore").deviations
