"""A name is resolved once, without a look at the weights, and everybody takes the result."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from huggingface_hub import constants

from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import ModelSource
from sinkscope.loading import load
from sinkscope.loading import resolve as resolving
from sinkscope.loading.load import load_model, load_tokenizer
from sinkscope.loading.resolve import packaged_folder, resolve
from sinkscope.names import RESIDENT
from sinkscope.planning import automatic
from sinkscope.planning import plan as planning
from sinkscope.vscale import attach_, save

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def config_alone(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with a config.json and nothing else."""

    def make(**changes: Any) -> Path:
        folder = tmp_path / "config-alone"
        folder.mkdir()
        config = {**tiny.build("llama_gqa").config.to_dict(), **changes}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def adapter(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """V-scale for a tiny model, without the model."""
    base = Path(shutil.copytree(tiny_folders["llama_gqa"], tmp_path / "base"))
    model = load_model(str(base)).model
    attach_(model)
    return save(model, tmp_path / "adapter", base=load_model(str(base)).description)


def test_a_folder() -> None:
    resolved = resolve("demo")
    assert (resolved.name, resolved.location, resolved.revision) == ("demo", str(packaged_folder("demo")), None)
    assert resolved.config["model_type"] == "llama"
    assert (resolved.quantization, resolved.bits, resolved.vscale, resolved.unsupported) == (None, None, None, None)
    assert resolved.weights_sha256 == load_model("demo").weights_sha256


def test_no_weights_are_needed(config_alone: Callable[..., Path]) -> None:
    folder = config_alone()
    resolved = resolve(str(folder))
    with pytest.raises(SinkscopeError, match="holds no weights"):
        _ = resolved.weights_sha256
    assert planning.plan(str(folder), tokens=32, resolved=resolved).choice.fits


def test_the_hash_is_taken_once_and_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    real = resolving.weights_sha256

    def counted(files: list[Path]) -> str:
        taken.append(files)
        return real(files)

    monkeypatch.setattr(resolving, "weights_sha256", counted)
    resolved = resolve("demo")
    planning.plan("demo", tokens=32, resolved=resolved)
    assert not taken
    load_model("demo", resolved=resolved)
    load_model("demo", resolved=resolved)
    assert len(taken) == 1


def test_what_is_resolved_is_not_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = resolve("demo")

    def again(*_: Any) -> None:
        raise AssertionError("resolved again")

    for module in (load, planning):
        monkeypatch.setattr(module, "resolve", again)
    assert load_model("demo", resolved=resolved).name == "demo"
    assert planning.plan("demo", resolved=resolved).model.name == "demo"
    driver = automatic.automatic_driver(
        ModelSource("demo"),
        resolved,
        tokens=32,
        sequences=1,
        batch_size=1,
        settings=Settings(),
        layer_by_layer=False,
        spill=None,
    )
    assert driver == RESIDENT


def test_a_hub_model_is_pinned(tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--model"
    snapshot = shutil.copytree(tiny_folders["qwen2_gqa"], repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    resolved = resolve("owner/model")
    assert (resolved.location, resolved.revision, resolved.folder) == ("owner/model", COMMIT, Path(snapshot))
    assert resolved.pinning == {"revision": COMMIT, "local_files_only": True}
    assert resolved.weights_sha256 is None
    assert planning.plan("owner/model", tokens=32).as_json()["model"]["revision"] == COMMIT
    assert load_tokenizer("owner/model")("a")["input_ids"]


def test_an_adapter_stands_for_its_base(adapter: Path) -> None:
    resolved = resolve(str(adapter))
    assert resolved.name == str(adapter)
    assert resolved.location == resolved.origin == str(adapter.parent / "base")
    assert resolved.vscale is not None
    assert (resolved.vscale.folder, resolved.vscale.info["variant"]) == (adapter, "learned")
    planned = planning.plan(str(adapter), tokens=32)
    assert planned.as_json()["model"]["name"] == str(adapter)
    assert load_tokenizer(str(adapter))("a")["input_ids"] == load_model(str(adapter)).tokenizer("a")["input_ids"]


@pytest.mark.parametrize("use", [load_model, planning.plan, resolve])
def test_the_revision_of_an_adapter_is_its_own(use: Callable[..., Any], adapter: Path) -> None:
    with pytest.raises(RequestError, match="`revision` is that of the base"):
        use(str(adapter), revision="main")


def test_other_weights_than_those_of_the_adapter_can_be_planned_and_not_loaded(adapter: Path) -> None:
    tiny.save(tiny.build("llama_gqa", seed=1), adapter.parent / "base")
    resolved = resolve(str(adapter))
    assert planning.plan(str(adapter), tokens=32, resolved=resolved).choice.fits
    with pytest.raises(SinkscopeError, match="V-scale for other weights"):
        load_model(str(adapter), resolved=resolved)


def test_what_cannot_be_measured_is_known_with_its_reason(config_alone: Callable[..., Path]) -> None:
    folder = config_alone(model_type="mamba")
    resolved = resolve(str(folder))
    assert isinstance(resolved.unsupported, RequestError)
    with pytest.raises(RequestError, match="architecture 'mamba'") as caught:
        load_model(str(folder), resolved=resolved)
    assert str(caught.value) == str(resolved.unsupported)


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({"quant_method": "gptq", "bits": 4}, ("gptq", 4)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("bitsandbytes", 8)),
        ({"quant_method": "fp8"}, ("fp8", 8)),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4)),
        ({"quant_method": "something"}, ("something", None)),
        ({}, ("unknown", None)),
    ],
)
def test_stored_quantization(
    described: dict[str, Any], expected: tuple[str, int | None], config_alone: Callable[..., Path]
) -> None:
    resolved = resolve(str(config_alone(quantization_config=described)))
    assert (resolved.quantization, resolved.bits) == expected


def test_places_that_hold_no_model(tmp_path: Path) -> None:
    for use in (resolve, load_tokenizer):
        with pytest.raises(SinkscopeError, match="there is no folder"):
            use(str(tmp_path / "nothing"))
