"""The recorded hash of a model is another one whenever the model is, and the same for a copy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from huggingface_hub import constants

from sinkscope.loading.load import load_model
from sinkscope.loading.model_hash import UNIMPORTANT, content_sha256
from sinkscope.loading.resolve import resolve
from sinkscope.vscale import attach_, attached, save

COMMITS = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def model(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folders["llama_gqa"], tmp_path / "model"))


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def of(folder: Path) -> str:
    return resolve(str(folder)).sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit(folder, rope_parameters={"rope_type": "default", "rope_theta": 5e5}),
        lambda folder: edit(folder, rms_norm_eps=1e-3),
        lambda folder: edit(folder, dtype="bfloat16"),
        lambda folder: edit(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
        lambda folder: tiny.build("llama_gqa", seed=1).save_pretrained(folder),
    ],
    ids=["rope", "epsilon", "dtype", "quantization", "weights"],
)
def test_another_model_has_another_hash(change: Callable[[Path], object], model: Path) -> None:
    before = of(model)
    change(model)
    assert of(model) != before


def test_a_copy_is_the_same_model(model: Path) -> None:
    copy = Path(shutil.copytree(model, model.parent / "copy"))
    changes = {**dict.fromkeys(UNIMPORTANT, "another"), "architectures": ["Another"]}
    edit(copy, **changes)
    assert json.loads((copy / "config.json").read_text()) != json.loads((model / "config.json").read_text())
    assert of(copy) == of(model)


def test_the_order_of_keys_does_not_matter_and_depth_does() -> None:
    assert content_sha256({"a": 1, "b": [{"c": 2, "use_cache": 0}]}) == content_sha256({"b": [{"c": 2}], "a": 1})
    assert content_sha256({"a": {"b": 1}}) != content_sha256({"a": {"b": 2}})


def test_code_that_comes_with_a_model_counts_where_it_may_run(model: Path) -> None:
    (model / "modeling.py").write_text("WIDTH = 1")
    before = of(model)
    (model / "modeling.py").write_text("WIDTH = 2")
    assert of(model) == before
    edit(model, auto_map={"AutoModelForCausalLM": "modeling.Model"})
    before = of(model)
    (model / "modeling.py").write_text("WIDTH = 1")
    assert of(model) != before


def test_vscale_counts_and_not_the_name_of_its_base(model: Path, tmp_path: Path) -> None:
    loaded = load_model(str(model))
    base = loaded.description
    attach_(loaded.model)
    one = save(loaded.model, tmp_path / "one", base=base)
    attached(loaded.model)[0].theta.data.fill_(0.5)
    other = save(loaded.model, tmp_path / "other", base=base)
    moved = Path(shutil.copytree(model, tmp_path / "moved"))
    same = save(loaded.model, tmp_path / "same", base={**base, "name": str(moved)})
    hashes = [of(folder) for folder in (model, one, other)]
    assert len(set(hashes)) == len(hashes)
    assert of(same) == of(other)


def test_a_commit_counts(tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--model"
    for commit in COMMITS:
        shutil.copytree(tiny_folders["qwen2_gqa"], repository / "snapshots" / commit)
    first, second = (resolve("owner/model", commit).sha256 for commit in COMMITS)
    assert first != second
