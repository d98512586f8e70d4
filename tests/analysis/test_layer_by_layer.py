"""The layer-by-layer and streamed drivers give what the resident one gives, table by table."""

from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
from reference.models import FAMILIES, tokens
from reference.models import tiny as sinking
from transformers import PreTrainedModel

import sinkscope
from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.measure import measure
from sinkscope.capture.recorder import Recorder
from sinkscope.capture.settings import Settings
from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import Loaded, load_model
from sinkscope.tables.run_folder import Run
from sinkscope.vscale import attach_, save

SETTINGS = Settings(sink_window=16)
FORWARD = Settings(sink_window=16, backward=False)


def same(run: Run, expected: Run) -> None:
    assert list(run.tables) == list(expected.tables)
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(run[name], table, rtol=1e-5, atol=1e-7, obj=name)


def streamed(folder: Path, ids: torch.Tensor, settings: Settings = SETTINGS, spill: Path | None = None) -> Run:
    loaded = load_model(str(folder), stream=True, device="cpu")
    assert all(parameter.is_meta for name, parameter in loaded.model.named_parameters() if ".vscale." not in name)
    return measure(loaded.model, ids, settings=settings, batch_size=2, driver=driver_of(loaded, spill))


def driver_of(loaded: Loaded, spill: Path | None = None) -> LayerByLayer:
    return LayerByLayer(loaded.model, loaded.weights, spill=spill)


def saved(model: PreTrainedModel, folder: Path, **options: object) -> Path:
    return tiny.save(model, folder, **options)


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_agree_with_the_resident_driver(family: str, backward: bool, tmp_path: Path) -> None:
    model, ids = sinking(family, massive=True), tokens(5, 90)
    settings = Settings(sink_window=16, backward=backward)
    expected = measure(model, ids, settings=settings, batch_size=2)
    same(measure(model, ids, settings=settings, batch_size=2, driver=LayerByLayer(model)), expected)
    folder = saved(model, tmp_path / "model", max_shard_size="20KB")
    same(streamed(folder, ids, settings, tmp_path / "spill"), expected)
    assert not list((tmp_path / "spill").iterdir())


def test_sinks_that_only_a_later_window_has_are_completed(tmp_path: Path) -> None:
    # With sharp random attention every window has sinks of its own, so the first ones are always incomplete.
    model, ids = sinking("llama_gqa", sharpness=30.0), tokens(6, 64)
    run = streamed(saved(model, tmp_path), ids)
    assert len(set(run["sinks"]["position"])) > 3
    assert not run["heads"]["mass"].isna().any()
    same(run, measure(model, ids, settings=SETTINGS, batch_size=2))


def test_isolated_documents(tmp_path: Path) -> None:
    model, ids = sinking("llama_gqa"), tokens(3, 60)
    documents = (torch.arange(60) // 17).expand(3, -1)
    expected = measure(model, ids, settings=SETTINGS, batch_size=1, document_ids=documents)
    loaded = load_model(str(saved(model, tmp_path)), stream=True, device="cpu")
    run = measure(loaded.model, ids, settings=SETTINGS, batch_size=1, document_ids=documents, driver=driver_of(loaded))
    same(run, expected)


@pytest.mark.parametrize("variant", ["learned", "fixed", "backward-only"])
def test_with_vscale(variant: str, tmp_path: Path) -> None:
    model, ids = attach_(sinking("llama_gqa"), variant=variant), tokens(3, 60)
    folder = save(model, tmp_path)
    tiny.tokenizer().save_pretrained(folder)
    same(streamed(folder, ids), measure(model, ids, settings=SETTINGS, batch_size=2))


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_quantized_while_loading(quantize: str, tmp_path: Path) -> None:
    folder = saved(tiny.build("llama_gqa", hidden_size=128, intermediate_size=192, head_dim=32), tmp_path)
    ids = tokens(3, 60)
    expected = measure(load_model(str(folder), quantize=quantize).model, ids, settings=SETTINGS, batch_size=2)
    loaded = load_model(str(folder), quantize=quantize, stream=True)
    run = measure(loaded.model, ids, settings=SETTINGS, batch_size=2, driver=driver_of(loaded))
    same(run, expected)


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_tied_embeddings_in_16_bit_and_cast(dtype: str, tmp_path: Path) -> None:
    folder = saved(tiny.build("qwen2_gqa", tie_word_embeddings=True).to(torch.bfloat16), tmp_path)
    ids = tokens(3, 60)
    expected = measure(load_model(str(folder), dtype=dtype).model, ids, settings=SETTINGS, batch_size=2)
    loaded = load_model(str(folder), dtype=dtype, stream=True)
    same(measure(loaded.model, ids, settings=SETTINGS, batch_size=2, driver=driver_of(loaded)), expected)


def test_weights_are_in_memory_one_part_at_a_time(tmp_path: Path) -> None:
    loaded = load_model(str(saved(tiny.build("llama_gqa"), tmp_path)), stream=True)
    assert loaded.weights is not None
    for part in ("embedding", 0, 1, "head"):
        with loaded.weights.loaded(part):
            there = {name for name, parameter in loaded.model.named_parameters() if not parameter.is_meta}
        assert there
        prefix = f"model.layers.{part}."
        assert all(name.startswith(prefix) for name in there) == isinstance(part, int)
    assert all(parameter.is_meta for parameter in loaded.model.parameters())


def test_missing_and_mismatched_weights_are_told_before_anything_is_measured(tmp_path: Path) -> None:
    folder = saved(tiny.build("llama_gqa"), tmp_path)
    config = (folder / "config.json").read_text()
    for before, after, message in (
        ('"intermediate_size": 48', '"intermediate_size": 64', "stored in another shape"),
        ('"num_hidden_layers": 2', '"num_hidden_layers": 3', "are missing"),
    ):
        (folder / "config.json").write_text(config.replace(before, after))
        with pytest.raises(SinkscopeError, match=message):
            load_model(str(folder), stream=True)


def test_non_finite_activations_are_placed(tmp_path: Path) -> None:
    model = tiny.build("llama_gqa")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(SinkscopeError, match="layer 1 at site r_mlp"):
        streamed(saved(model, tmp_path), tokens(2, 20))


@pytest.mark.parametrize("number", [0, 1, 4])  # of a batch the first and the last, and the batch that is smaller
def test_a_last_token_that_is_not_finite_is_found_in_any_sequence(number: int) -> None:
    # The loss knows nothing of the last token, and its activations reach no other.
    model, ids = tiny.build("llama_gqa"), tokens(5, 20)
    ids[ids == 5] = 6
    ids[number, -1] = 5
    with torch.no_grad():  # channel 3 is token 5's alone, and overflows the last layer's MLP
        embedding = model.get_input_embeddings().weight
        embedding[:, 3] = 0
        embedding[5, 3] = 1
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[3] = 0
            layer.mlp.down_proj.weight[3] = 0
        model.model.layers[1].mlp.gate_proj.weight[:, 3] = 1e25
        model.model.layers[1].mlp.up_proj.weight[:, 3] = 1e25
    for driver in (None, LayerByLayer(model)):
        with pytest.raises(SinkscopeError, match="layer 1 at site down_in"):
            measure(model, ids, settings=FORWARD, batch_size=2, driver=driver)


def test_a_last_token_that_only_the_final_norm_breaks_is_found() -> None:
    model, ids = tiny.build("llama_gqa"), tokens(2, 20)

    def broken(_module: object, _args: object, output: torch.Tensor) -> torch.Tensor:
        return torch.cat([output[:, :-1], torch.full_like(output[:, -1:], torch.inf)], 1)

    model.model.norm.register_forward_hook(broken)
    for driver in (None, LayerByLayer(model)):
        with pytest.raises(SinkscopeError, match="the final hidden states are not finite"):
            measure(model, ids, settings=FORWARD, batch_size=2, driver=driver)


def test_through_the_front_door(tmp_path: Path) -> None:
    ids = tokens(2, 40)
    folder = saved(tiny.build("llama_gqa"), tmp_path / "model")
    runs = [
        sinkscope.analyze(folder, input_ids=ids, **options).run
        for options in ({}, {"stream": True}, {"gradient_checkpointing": True, "spill": tmp_path / "spill"})
    ]
    assert [run.info["driver"] for run in runs] == ["resident", "streamed", "layer by layer"]
    assert {run.info["device"] for run in runs} == {"cpu"}
    for run in runs[1:]:
        same(run, runs[0])
    with pytest.raises(SinkscopeError, match="`spill` goes with"):
        sinkscope.analyze(folder, input_ids=ids, spill=tmp_path / "spill")
    with pytest.raises(SinkscopeError, match="in memory already"):
        sinkscope.analyze(tiny.build("llama_gqa"), input_ids=ids, stream=True)


def test_gradient_vectors_are_let_go_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model, held = sinking("llama_gqa"), []
    settle = Recorder.settle

    def watched(recorder: Recorder, layer: int) -> None:
        settle(recorder, layer)
        vectors = [(key[0], total.total.numel()) for key, total in {**recorder.gradients, **recorder.reshaped}.items()]
        vectors += [(layer, blocks.sums.numel()) for layer, blocks in recorder.blocks.items()]
        held.append(sum(numel for at, numel in vectors if at >= layer))

    monkeypatch.setattr(Recorder, "settle", watched)
    measure(model, tokens(3, 40), settings=SETTINGS, batch_size=1, driver=LayerByLayer(model))
    assert held == [0, 0, 0]
