"""The text tower of a vision-language model: measured with image tokens among its tokens, which the tables mark."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny as tiny_models
import torch
from families import _roughen_
from reference import measure
from reference.agree import assert_agree, assert_table
from reference.tables import reference_tables
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

import sinkscope
from sinkscope import EvaluationSettings, Monitor, Scope, Settings
from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.measure import measure as analyzed
from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.retrieval import plan_needles
from sinkscope.loading.load import load_model
from sinkscope.models.shape import context_of
from sinkscope.tables.run_folder import Run
from sinkscope.vscale import attach_, detach_

IMAGE, START, LENGTH = 250, 251, 24
SETTINGS = Settings(sink_epsilon=0.25, sink_window=8, early=5, positions=12)
TEXT: dict[str, Any] = {
    "vocab_size": 258, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
}  # fmt: skip
ONLY_PERPLEXITY = EvaluationSettings(perplexity=True, variants=(), tasks=())
VISION: dict[str, Any] = {
    "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4, "out_hidden_size": 32,
    "window_size": 16, "fullatt_block_indexes": [1],
}  # fmt: skip


def model_of(seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(
        text_config=TEXT, vision_config=VISION, image_token_id=IMAGE, video_token_id=252, vision_start_token_id=START
    )
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    _roughen_(model, 12.0)
    return model


def inputs(first: int = 3) -> dict[str, torch.Tensor]:
    """Two sequences with an image of 6 tokens each, at `first` in one and two tokens later in the other."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.stack([torch.randperm(200, generator=generator)[:LENGTH] + 4 for _ in range(2)])
    for row, start in zip(ids, (first, first + 2), strict=True):
        row[start : start + 6] = IMAGE
    grid = torch.tensor([[1, 4, 6], [1, 6, 4]])
    pixels = torch.randn(int(grid.prod(-1).sum()), 3 * 2 * 4 * 4, generator=generator)
    return {"input_ids": ids, "pixel_values": pixels, "image_grid_thw": grid,
            "mm_token_type_ids": (ids == IMAGE).int()}  # fmt: skip


def run_of(model: Any, given: dict[str, torch.Tensor]) -> Run:
    with Scope(model, SETTINGS) as scope:
        logits = model(**given, use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), given["input_ids"][:, 1:].flatten(), reduction="none"
        )
        losses.mean().backward()
    return scope.run()


def expected_modalities(run: Run, measured: Any, given: dict[str, torch.Tensor]) -> pd.DataFrame:
    rows = []
    for i in range(3):
        for kind in ("first", "text", "image"):
            at = [
                (n, s)
                for n in range(2)
                for s in range(LENGTH)
                if kind == ("first" if s == 0 else "image" if given["input_ids"][n, s] == IMAGE else "text")
            ]
            judged = [(n, s) for n, s in at if s <= LENGTH - SETTINGS.sink_window]
            here = run["sinks"][run["sinks"]["layer"] == i]
            sinks = {(n, s) for n, s in here[["sequence", "position"]].to_numpy().tolist()} & set(at)
            states = [measured.sequences[n].layers[i].x["h_out"][s] for n, s in at]
            norms = [float(x.norm()) for x in states]
            rows.append(
                {
                    "layer": i,
                    "kind": kind,
                    "tokens": len(at),
                    "judged": len(judged),
                    "sinks": len(sinks),
                    "sink_share": len(sinks) / len(judged),
                    "norm": np.mean(norms),
                    "norm_max": max(norms),
                    "abs_max": max(float(x.abs().max()) for x in states),
                }
            )
    return pd.DataFrame(rows)


def test_all_tables_agree_with_the_reference_and_image_tokens_are_told_apart() -> None:
    model, given = model_of(), inputs()
    run = run_of(model, given)
    measured = measure(model, **given)
    tables = reference_tables(measured, SETTINGS)
    tables["sequences"] = tables["sequences"][tables["sequences"]["metric"] != "loss"]
    heads = tables.pop("heads")  # a Scope sees one pass, so its column sums are complete
    assert_agree(run, {**tables, "heads": heads})
    expected = expected_modalities(run, measured, given)
    assert expected["sinks"].gt(0).groupby(expected["kind"]).any()["image"]
    assert_table("modalities", run["modalities"], expected, relative=1e-4, of_largest=1e-6)
    kinds = [tuple(row) for row in run["token_kinds"].to_numpy().tolist()]
    assert kinds == [(0, 0, 3, "text"), (0, 3, 9, "image"), (0, 9, LENGTH, "text"),
                     (1, 0, 5, "text"), (1, 5, 11, "image"), (1, 11, LENGTH, "text")]  # fmt: skip
    assert run.info["headline"]["bound_violations"] == 0
    assert run.info["headline"]["image_sink_share"] > 0


def test_an_image_that_comes_first_stands_at_position_0() -> None:
    run = run_of(model_of(), inputs(first=0))
    assert run["token_kinds"].iloc[0].tolist() == [0, 0, 6, "image"]
    counts = run["modalities"].query("layer == 0").set_index("kind")["tokens"]
    assert counts.to_dict() == {"first": 2, "text": 2 * LENGTH - 13, "image": 11}
    at_zero = run["sinks"].query("position == 0 and sequence == 0")["token"]
    assert set(at_zero) <= {str(IMAGE)}


def test_text_alone_by_every_driver_and_from_a_folder(tmp_path: Path) -> None:
    model = model_of()
    ids = torch.randint(4, 250, (3, LENGTH), generator=torch.Generator().manual_seed(2))
    run = analyzed(model, ids, settings=SETTINGS, batch_size=2)
    assert set(run["modalities"]["kind"]) == {"first", "text"}
    layer_by_layer = analyzed(model, ids, settings=SETTINGS, batch_size=2, driver=LayerByLayer(model))
    loaded = load_model(str(tiny_models.save(model, tmp_path)), device="cpu")
    again = analyzed(loaded.model, ids, settings=SETTINGS, batch_size=2)
    skeleton = load_model(str(tmp_path), device="cpu", stream=True)
    driver = LayerByLayer(skeleton.model, skeleton.weights)
    streamed = analyzed(skeleton.model, ids, settings=SETTINGS, batch_size=2, driver=driver)
    assert streamed.info["driver"] == "streamed"
    for name, table in run.tables.items():
        pd.testing.assert_frame_equal(streamed[name], table, rtol=1e-5, atol=1e-7, obj=name)
        pd.testing.assert_frame_equal(layer_by_layer[name], table, rtol=1e-5, atol=1e-7, obj=name)
        pd.testing.assert_frame_equal(again[name], table, rtol=1e-5, atol=1e-7, obj=name)
    loss = run["sequences"].query("metric == 'loss'")["value"].mean()
    assert loss == pytest.approx(float(model(input_ids=ids, labels=ids, use_cache=False).loss.detach()), rel=1e-4)


def test_towers_keep_their_own_attention_and_vscale_leaves_images_alone() -> None:
    model, given = model_of(), inputs()
    model.set_attn_implementation({"": "sdpa", "vision_config": "eager", "text_config": "sdpa"})
    before = model(**given, use_cache=False).logits
    run_of(model, given)
    assert model.config.vision_config._attn_implementation == "eager"
    assert model.config.text_config._attn_implementation == "sdpa"
    model.set_attn_implementation("sdpa")
    features = model.model.get_image_features(given["pixel_values"], given["image_grid_thw"]).pooler_output
    bare = model(**given, use_cache=False).logits
    attach_(model)
    valved = model.model.get_image_features(given["pixel_values"], given["image_grid_thw"]).pooler_output
    torch.testing.assert_close(valved, features, rtol=0, atol=0)
    assert not torch.allclose(model(**given, use_cache=False).logits, bare, atol=1e-4)
    detach_(model)
    torch.testing.assert_close(model(**given, use_cache=False).logits, bare, rtol=0, atol=0)
    torch.testing.assert_close(bare, before, rtol=1e-4, atol=1e-4)


def test_the_context_is_that_of_the_text_part(tmp_path: Path) -> None:
    model, tokenizer = model_of(), tiny_models.tokenizer()
    model.config.text_config.max_position_embeddings = LENGTH * 2
    assert getattr(model.config, "max_position_embeddings", None) is None  # it is nowhere else
    assert context_of(model.config) == LENGTH * 2
    words = "a text that is longer than what this model can read at once, so that windows are cut from it, and more"
    monitor = Monitor(model, tokenizer, data=[words] * 4, sequences=2, settings=SETTINGS)
    assert monitor._input_ids.shape == (2, LENGTH * 2)
    with pytest.raises(SinkscopeError, match=f"49 tokens exceed the model's context of {LENGTH * 2}"):
        Monitor(model, tokenizer, data=[words] * 4, tokens=LENGTH * 2 + 1)

    (tmp_path / "text.txt").write_text(words)
    evaluated = sinkscope.evaluate(model, tokenizer, data=str(tmp_path / "text.txt"), settings=ONLY_PERPLEXITY)
    assert evaluated.info["model"]["context"] == LENGTH * 2
    assert evaluated.info["settings"]["window"] == LENGTH * 2
    assert evaluated.contexts["context"].max() == LENGTH * 2
    with pytest.raises(SinkscopeError, match=f"window of 49 tokens exceeds the model's context of {LENGTH * 2}"):
        sinkscope.evaluate(model, tokenizer, data=str(tmp_path / "text.txt"),
                           settings=replace(ONLY_PERPLEXITY, window=LENGTH * 2 + 1))  # fmt: skip
    with pytest.raises(SinkscopeError, match=f"needle test over 49 tokens exceeds the model's context of {LENGTH * 2}"):
        plan_needles(model, tokenizer, [], EvaluationSettings(), (LENGTH * 2 + 1,))


def test_embeddings_in_the_place_of_ids_are_refused() -> None:
    model = model_of()
    with Scope(model, SETTINGS), pytest.raises(SinkscopeError, match="with input_ids"):
        model(inputs_embeds=torch.randn(1, LENGTH, 32), use_cache=False)


def test_other_multimodal_models_are_refused_by_name(tmp_path: Path) -> None:
    text = {
        "model_type": "llama",
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    vision = {"model_type": "clip_vision_model", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=vision))
    with pytest.raises(SinkscopeError, match=r"'llava' reads more than text.*'qwen2_5_vl'"):
        Scope(model)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "vision_config": {"hidden_size": 8}}))
    with pytest.raises(SinkscopeError, match=r"'gemma3' reads more than text.*'qwen2_5_vl'"):
        load_model(str(tmp_path))


def test_models_of_text_alone_have_no_such_tables() -> None:
    ids = torch.randint(4, 250, (2, LENGTH), generator=torch.Generator().manual_seed(2))
    run = sinkscope.analyze("demo", input_ids=ids, settings=SETTINGS).run
    assert not {"token_kinds", "modalities"} & set(run.tables)
    assert run.info["headline"]["image_sink_share"] is None
