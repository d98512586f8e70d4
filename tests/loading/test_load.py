"""Loading gives the model that was saved, or one clear line."""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from huggingface_hub import HfApi, constants
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, PreTrainedModel, T5Config
from transformers.utils import logging as transformers_logging

from sinkscope.compat.hub import TransportError
from sinkscope.errors import SinkscopeError
from sinkscope.loading import place
from sinkscope.loading.load import load_model
from sinkscope.loading.resolve import resolve
from sinkscope.models.families import FAMILIES

IDS = torch.arange(2, 34)[None]


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refusal(name: Path | str, **options: Any) -> str:
    with pytest.raises(SinkscopeError) as caught:
        load_model(str(name), **options)
    return str(caught.value)


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(input_ids=IDS).logits
    return result


@pytest.mark.parametrize("name", tiny.MODELS)
def test_loads_the_saved_model(name: str, tiny_folders: dict[str, Path]) -> None:
    loaded = load_model(str(tiny_folders[name]), device="cpu")
    torch.testing.assert_close(logits(loaded.model), logits(tiny.build(name)))
    assert not loaded.model.training
    assert loaded.tokenizer("ab")["input_ids"][0] == loaded.tokenizer.bos_token_id


def test_describes_its_source(tiny_folders: dict[str, Path]) -> None:
    folder = tiny_folders["llama_gqa"]
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    expected = {"name": str(folder), "revision": None, "weights_sha256": digest, "quantization": None}
    assert load_model(str(folder)).description == {**expected, "sha256": resolve(str(folder)).sha256}


def test_dtype(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    assert load_model(str(tiny_folders["llama_gqa"]), dtype="bfloat16").model.dtype == torch.bfloat16
    half = tiny.save(tiny.build("llama_gqa").to(torch.float16), tmp_path / "half")
    assert load_model(str(half)).model.dtype == torch.float16
    assert load_model(str(half), dtype="float32").model.dtype == torch.float32


def test_sharded_weights(tmp_path: Path) -> None:
    model = tiny.build("qwen3_gqa")
    folder = tiny.save(model, tmp_path / "sharded", max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    loaded = load_model(str(folder), device="cpu")
    torch.testing.assert_close(logits(loaded.model), logits(model))
    assert loaded.weights_sha256 == hashlib.sha256(b"".join(s.read_bytes() for s in shards)).hexdigest()
    shards[1].unlink()
    assert f"shard {shards[1].name}" in refusal(folder)


def test_is_silent_and_puts_logging_back(tiny_folders: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    load_model(str(tiny_folders["llama_gqa"]))
    assert capfd.readouterr() == ("", "")
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before


def test_demo_is_the_packaged_folder(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "PACKAGE", tmp_path)
    assert "lacks the model demo" in refusal("demo")
    shutil.copytree(tiny_folders["llama_gqa"], tmp_path / "demo")
    assert load_model("demo").name == "demo"


@pytest.mark.parametrize("model_type", ["mamba", "bloom", "of_the_future"])
def test_unknown_architecture_is_refused_before_weights_are_read(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    message = refusal(tmp_path)
    assert f"'{model_type}'" in message
    assert ", ".join(sorted(FAMILIES)) in message


@pytest.mark.parametrize("config", [BertConfig(), T5Config()], ids=["bert", "t5"])
def test_encoders_are_no_causal_models(config: Any, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    assert "not a causal language model" in refusal(tmp_path)


def test_folder_without_config(broken: Callable[..., Path]) -> None:
    folder = broken()
    (folder / "config.json").unlink()
    assert "no config.json" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "not valid JSON"), ("[]", "must be an object, not a list"), ("{}", "'model_type' is missing")],
)
def test_config_that_is_none(content: str, complaint: str, broken: Callable[..., Path]) -> None:
    folder = broken()
    (folder / "config.json").write_text(content)
    assert complaint in refusal(folder)


def test_config_that_contradicts_itself(broken: Callable[..., Path]) -> None:
    folder = broken()
    edit_config(folder, hidden_size="wide")
    assert "hidden_size" in refusal(folder)


def test_folder_without_weights(broken: Callable[..., Path]) -> None:
    folder = broken()
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in refusal(folder)


def test_pickled_weights_are_never_loaded(broken: Callable[..., Path]) -> None:
    folder = broken()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    message = refusal(folder)
    assert "pytorch_model.bin" in message
    assert "convert them to safetensors" in message


@pytest.mark.parametrize("kept", [0, 100, -8])
def test_truncated_weights(kept: int, broken: Callable[..., Path]) -> None:
    file = broken() / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert "model.safetensors is not a whole safetensors file" in refusal(file.parent)


def test_index_without_weights(broken: Callable[..., Path]) -> None:
    folder = broken()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "'metadata' is missing" in refusal(folder)


def test_missing_weight_is_an_error(broken: Callable[..., Path]) -> None:
    folder = broken()
    edit_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    message = refusal(folder)
    assert "1 weight(s)" in message
    assert "model.layers.1.mlp.up_proj.weight" in message


def test_weight_of_another_shape_is_an_error(broken: Callable[..., Path]) -> None:
    folder = broken()
    edit_config(folder, intermediate_size=40)
    message = refusal(folder)
    assert "[32, 48]" in message
    assert "[32, 40]" in message


def test_weight_without_a_place_is_an_error_and_told_where_it_is_allowed(
    broken: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = broken()
    edit_weights(folder, lambda weights: weights.update({"model.layers.0.extra": torch.zeros(1)}))
    assert "'model.layers.0.extra'" in refusal(folder)
    with caplog.at_level(logging.WARNING, logger="sinkscope"):
        load_model(str(folder), allow_deviations=True)
    assert "model.layers.0.extra" in caplog.text


@pytest.mark.parametrize("name", ["llama_gqa", "mistral_gqa", "qwen2_gqa", "qwen3_gqa"])
def test_missing_tokenizer(name: str, broken: Callable[..., Path]) -> None:
    folder = broken(name)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert "no usable tokenizer" in refusal(folder)


@pytest.mark.parametrize("content", ["{", "{}", '{"added_tokens": [], "model": {"type": "none"}}'])
def test_broken_tokenizer(content: str, broken: Callable[..., Path]) -> None:
    folder = broken()
    (folder / "tokenizer.json").write_text(content)
    assert "no usable tokenizer" in refusal(folder)


def test_names_that_are_no_model(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny_folders["llama_gqa"]
    assert "is a file" in refusal(folder / "config.json")
    assert "there is no folder" in refusal(tmp_path / "nothing")
    assert "no model id either" in refusal("not a name")
    assert "`revision`" in refusal(folder, revision="main")


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float64"},
        {"quantize": "int3"},
        {"device_map": "everywhere"},
        {"device": "cpu", "device_map": "auto"},
        {"device": "cuda:99"},
        {"device": "meta"},
        {"device": "toaster"},
    ],
)
def test_impossible_options(options: dict[str, str], tiny_folders: dict[str, Path]) -> None:
    assert re.search(rf"`{next(iter(options))}[=`]", refusal(tiny_folders["llama_gqa"], **options))


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_quantized_weights_keep_gradients(quantize: str, dtype: str, tiny_folders: dict[str, Path]) -> None:
    pytest.importorskip("bitsandbytes")
    folder = str(tiny_folders["llama_gqa"])
    loaded = load_model(folder, quantize=quantize, dtype=dtype, device="cpu")
    assert loaded.quantization == quantize
    exact = load_model(folder, dtype=dtype, device="cpu").model
    projection = loaded.model.get_submodule("model.layers.0.mlp.up_proj").weight
    assert projection.dtype == {"nf4": torch.uint8, "int8": torch.int8}[quantize]
    ids = IDS[:, :8]
    gradients = []
    for model in (exact, loaded.model):
        embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
        model(inputs_embeds=embedded, labels=ids).loss.backward()
        gradients.append(embedded.grad.float().flatten())
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9


def test_quantizing_twice_is_refused(broken: Callable[..., Path]) -> None:
    folder = broken()
    edit_config(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    assert "quantized already (gptq)" in refusal(folder, quantize="nf4")


def test_hub_model_from_the_cache_is_pinned_to_its_commit(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--owner--model"
    shutil.copytree(tiny_folders["qwen2_gqa"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    loaded = load_model("owner/model", device="cpu")
    assert loaded.description == {
        "name": "owner/model",
        "revision": commit,
        "weights_sha256": None,
        "sha256": resolve("owner/model").sha256,
        "quantization": None,
    }
    torch.testing.assert_close(logits(loaded.model), logits(tiny.build("qwen2_gqa")))


def test_hub_in_offline_mode() -> None:
    assert "HF_HUB_OFFLINE is set" in refusal("owner/never-seen")


def test_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise TransportError("no route")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    message = refusal("owner/never-seen")
    assert "there is no folder 'owner/never-seen'" in message
    assert "cannot be reached" in message


def test_hub_model_without_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [SimpleNamespace(rfilename="pytorch_model.bin")]
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: SimpleNamespace(sha="0" * 40, siblings=files))
    assert "convert them to safetensors" in refusal("owner/pickled")
