"""What is loaded is what is stored, in every driver, or the run is refused; what is rightly left out is recorded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sinkscope.analysis.run import analyze
from sinkscope.capture.settings import Settings
from sinkscope.errors import SinkscopeError
from sinkscope.loading.deviations import FURTHER_TOKENS, UNUSED, Deviation, unused
from sinkscope.loading.load import load_model

IDS = torch.arange(2, 34)[None]
DRIVERS: list[dict[str, Any]] = [{"stream": False}, {"gradient_checkpointing": True, "stream": False}, {"stream": True}]
SETTINGS = Settings(early=7, positions=16, sink_window=8)
Change = Callable[[dict[str, Tensor]], object]


def edit(folder: Path, change: Change = lambda _: None, **config: Any) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


def logits(folder: Path, **options: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = load_model(str(folder), device="cpu", **options).model(input_ids=IDS).logits
    return found


def measured(folder: Path, **driver: Any) -> dict[str, Any]:
    run = analyze(str(folder), input_ids=IDS, settings=SETTINGS, device="cpu", **driver)
    return {**run.headline, "deviations": run.info["model"].get("deviations")}


@pytest.mark.parametrize("driver", DRIVERS, ids=["resident", "checkpointing", "stream"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.layers.0.self_attn.q_proj.bias", (32,)),
        ("model.layers.2.mlp.up_proj.weight", (48, 32)),
        ("model.layers.0.mlp.up_proj.weight_scale", ()),
        ("something.else", (1,)),
    ],
)
def test_a_stored_tensor_without_a_place_is_refused(
    name: str, shape: tuple[int, ...], driver: dict[str, Any], broken: Callable[..., Path]
) -> None:
    folder = broken()
    edit(folder, lambda weights: weights.update({name: torch.zeros(shape)}))
    with pytest.raises(SinkscopeError, match=r"1 stored weight\(s\) have no place") as caught:
        measured(folder, **driver)
    assert f"'{name}'" in str(caught.value)
    assert "`allow_deviations`" in str(caught.value)
    assert ("scales of quantized" in str(caught.value)) == name.endswith("scale")


@pytest.mark.parametrize("driver", DRIVERS, ids=["resident", "checkpointing", "stream"])
def test_what_a_user_allows_is_left_out_and_recorded(driver: dict[str, Any], broken: Callable[..., Path]) -> None:
    folder = broken()
    plain = measured(folder, **driver)
    assert plain["deviations"] is None
    edit(folder, lambda weights: weights.update({f"extra.{n}": torch.ones(1) for n in range(5)}))
    with pytest.raises(SinkscopeError, match=r"5 stored weight\(s\).*'extra.3', \.\.\."):
        measured(folder, **driver)
    found = measured(folder, **driver, allow_deviations=True)
    (deviation,) = found["deviations"]
    assert (deviation["kind"], deviation["count"], deviation["allowed"]) == (UNUSED, 5, True)
    assert deviation["tensors"] == [f"extra.{n}" for n in range(5)]
    assert found["loss"] == plain["loss"]


def test_missing_and_misshapen_weights_are_drawn_alike_where_a_user_allows_it(broken: Callable[..., Path]) -> None:
    folder = broken()
    edit(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"), vocab_size=260)
    with pytest.raises(SinkscopeError, match=r"weight\(s\) stored in another shape"):
        load_model(str(folder))
    loaded = load_model(str(folder), allow_deviations=True)
    assert {deviation.kind for deviation in loaded.deviations} == {"fresh", "reshaped"}
    assert all(deviation.allowed for deviation in loaded.deviations)
    torch.manual_seed(1)
    assert torch.equal(logits(folder, allow_deviations=True), logits(folder, allow_deviations=True))


def test_a_layered_driver_does_not_draw_weights(broken: Callable[..., Path]) -> None:
    folder = broken()
    edit(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(SinkscopeError, match="leave out `stream`"):
        load_model(str(folder), allow_deviations=True, stream=True)


@pytest.mark.parametrize("layer", [3, 61])
@pytest.mark.parametrize("driver", DRIVERS, ids=["resident", "checkpointing", "stream"])
@pytest.mark.parametrize("family", ["deepseek_v3", "glm4_moe"])
def test_layers_that_predict_further_tokens_are_left_out(
    family: str, layer: int, driver: dict[str, Any], tmp_path: Path
) -> None:
    """DeepSeek-V3 and GLM-4.5 store such a layer behind their last one."""
    folder = families.saved(family, tmp_path / "model")
    plain = measured(folder, **driver)

    def add(weights: dict[str, Tensor]) -> None:
        copied = {name: tensor.clone() for name, tensor in weights.items() if name.startswith("model.layers.2.")}
        weights.update({name.replace(".2.", f".{layer}.", 1): tensor for name, tensor in copied.items()})
        weights[f"model.layers.{layer}.eh_proj.weight"] = torch.ones(32, 64)

    edit(folder, add)
    found = measured(folder, **driver)
    (deviation,) = found.pop("deviations")
    assert (deviation["why"], deviation["allowed"]) == (FURTHER_TOKENS, False)
    assert f"model.layers.{layer}.eh_proj.weight" in deviation["tensors"]
    assert found == {key: value for key, value in plain.items() if key != "deviations"}


def test_a_layer_that_the_configuration_lost_is_none_of_them(tmp_path: Path) -> None:
    folder = families.saved("deepseek_v3", tmp_path / "model")
    edit(folder, num_hidden_layers=1, num_nextn_predict_layers=1)
    with pytest.raises(SinkscopeError, match="have no place in the model"):
        load_model(str(folder))


CONFIG = {"model_type": "llama", "num_hidden_layers": 2}


@pytest.mark.parametrize(
    ("names", "config", "known"),
    [
        (["model.layers.0.self_attn.rotary_emb.inv_freq"], {}, True),
        (["model.embeddings.position_ids"], {}, True),
        (["model.layers.0.attn.bias"], {}, False),
        (["transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"], {"model_type": "gpt2"}, True),
        (["gpt_neox.layers.0.attention.bias"], {"model_type": "gpt_neox"}, True),
        (["gpt_neox.layers.0.attention.dense.bias"], {"model_type": "gpt_neox"}, False),
        (["model.layers.2.mlp.up_proj.weight"], {"num_nextn_predict_layers": 1}, True),
        (["model.layers.2.enorm.weight"], {}, True),
        (["model.layers.2.mlp.up_proj.weight", "model.layers.3.a"], {"num_nextn_predict_layers": 1}, False),
        (["model.layers.2.mlp.up_proj.weight"], {}, False),
        (["model.layers.1.mlp.up_proj.bias"], {"num_nextn_predict_layers": 1}, False),
    ],
)
def test_what_is_known_to_be_of_no_use(names: list[str], config: dict[str, Any], known: bool) -> None:
    found = unused(names, {**CONFIG, **config}, "model.layers")
    assert sorted(name for deviation in found for name in deviation.tensors) == sorted(names)
    assert all(deviation.allowed is not known for deviation in found)


def test_many_names_are_told_by_their_pattern() -> None:
    names = tuple(f"model.layers.61.mlp.experts.{n}.up_proj.weight" for n in range(256))
    told = Deviation(UNUSED, "", names, allowed=False).as_json()
    assert (told["count"], told["tensors"]) == (256, ["model.layers.*.mlp.experts.*.up_proj.weight"])


@pytest.mark.parametrize("stored", ["another head", "the same head"])
def test_a_head_that_is_said_to_be_the_embedding(stored: str, broken: Callable[..., Path]) -> None:
    """The stored head is used, in every driver, whatever config.json says of it."""
    folder = broken()
    if stored == "the same head":
        edit(folder, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].clone()}))
    expected = measured(folder, stream=False)
    edit(folder, tie_word_embeddings=True)
    for driver in DRIVERS:
        found = measured(folder, **driver)
        deviations = found.pop("deviations")
        assert [deviation["kind"] for deviation in deviations or []] == ["head"] * (stored == "another head")
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert found["gradient_sink_median"] == pytest.approx(expected["gradient_sink_median"], rel=1e-4)
    weights = load_file(folder / "model.safetensors")
    loaded = load_model(str(folder)).model
    assert torch.equal(loaded.get_output_embeddings().weight, weights["lm_head.weight"])
    assert loaded.config.tie_word_embeddings is (stored == "the same head")


def test_a_tied_head_is_stored_once(tmp_path: Path) -> None:
    model = tiny.build("llama_gqa", tie_word_embeddings=True)
    folder = tiny.save(model, tmp_path / "tied")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    losses = {measured(folder, **driver)["loss"] for driver in DRIVERS}
    assert max(losses) - min(losses) < 1e-6
    assert load_model(str(folder)).deviations == ()
