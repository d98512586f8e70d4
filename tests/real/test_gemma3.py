"""A real Gemma 3: norms on both sides of a branch, windows, one kv head, scaled and tied embeddings, 262,144 tokens.

Windows of 512 tokens would need long texts, and the slow reference short ones: so both see a window of 24.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from reference import Measured, attention, gradients, measure, sites
from reference.tables import layers as reference_layers

import sinkscope
from sinkscope import Settings
from sinkscope.analysis.run import Analysis
from sinkscope.loading.load import Loaded, load_model

TOKENS, WINDOW, FULL = 48, 24, (5, 11, 17)
SETTINGS = Settings(positions=8, early=7, sink_window=32, columns="all")
WORDS = "A model that reads a text looks back at its first token more often than at any other one, and so on. " * 4


@pytest.fixture(scope="module")
def loaded(gemma: Path) -> Loaded:
    found = load_model(str(gemma), device="cpu")
    assert found.model.config.sliding_window == 512
    return found


@pytest.fixture(scope="module")
def ids(loaded: Loaded) -> torch.Tensor:
    found: torch.Tensor = loaded.tokenizer(WORDS, return_tensors="pt")["input_ids"][:, :TOKENS]
    assert found.shape == (1, TOKENS)
    assert loaded.tokenizer.convert_ids_to_tokens(int(found[0, 0])) == "<bos>"
    return found


@pytest.fixture(scope="module")
def both(loaded: Loaded, ids: torch.Tensor) -> tuple[Analysis, Measured]:
    """What sinkscope and the slow reference measure of the model with short windows."""
    _set_window(loaded, WINDOW)
    found = sinkscope.analyze(loaded.model, input_ids=ids, settings=SETTINGS), measure(loaded.model, ids)
    _set_window(loaded, 512)
    return found


def _set_window(loaded: Loaded, tokens: int) -> None:
    model = loaded.model
    model.config.sliding_window = tokens
    for layer in model.model.layers:
        if layer.self_attn.sliding_window is not None:
            layer.self_attn.sliding_window = tokens


def _agree(found: pd.DataFrame, expected: pd.DataFrame, keys: list[str], columns: list[str], rtol: float) -> None:
    ours, slow = found.set_index(keys), expected.set_index(keys)
    assert len(ours)
    for column in columns:
        values = slow.loc[ours.index, column].astype(float)
        np.testing.assert_allclose(ours[column].astype(float), values, rtol=rtol, atol=1e-6, err_msg=column)


def test_attention_under_windows(both: tuple[Analysis, Measured]) -> None:
    analysis, measured = both
    expected = attention.heads(measured, SETTINGS)
    _agree(
        analysis.heads,
        expected,
        ["layer", "head", "position"],
        ["alpha", "sink_fraction", "mass", "second_moment"],
        1e-4,
    )
    first = analysis.heads[analysis.heads["position"] == 0].set_index("layer")["mass"]
    assert first.drop(list(FULL)).max() <= WINDOW + 1e-4  # no more queries see it
    assert first.loc[list(FULL)].max() > WINDOW
    for layer, one in enumerate(measured.sequences[0].layers):
        assert bool((one.weights[:, WINDOW:, 0] == 0).all()) == (layer not in FULL)


def test_norms_and_kurtosis(both: tuple[Analysis, Measured]) -> None:
    analysis, measured = both
    _agree(
        analysis.positions, sites.positions(measured, SETTINGS), ["layer", "site", "position"],
        ["norm", "norm_max"], 1e-4,
    )  # fmt: skip
    _agree(
        analysis.run.tables["sites"],
        sites.sites(measured),
        ["layer", "site"],
        ["abs_max", "abs_median", "kurtosis"],
        1e-3,
    )
    stream = analysis.positions[(analysis.positions["site"] == "h_in") & (analysis.positions["layer"] == 0)]
    width = 640
    scaled = (measured.sequences[0].layers[0].x["h_in"] ** 2).mean().sqrt()
    assert 0.5 < float(scaled) < 2  # embeddings are multiplied by the square root of the width before the first layer
    assert len(stream) == 16  # more than `positions`, as equation (3) reads them
    assert stream["norm"].between(0.5 * width**0.5, 2 * width**0.5).all()


def test_gradients_and_sandwich_norms(both: tuple[Analysis, Measured]) -> None:
    analysis, measured = both
    heads = attention.heads(measured, SETTINGS)
    _agree(
        analysis.layers,
        reference_layers(measured, SETTINGS, heads),
        ["layer"],
        ["sink_rate", "gradient_sink_ratio"],
        1e-3,
    )
    _agree(
        analysis.run.tables["branches"], gradients.branches(measured, SETTINGS), ["layer", "branch", "position"],
        ["bloat", "change", "compress"], 2e-3,
    )  # fmt: skip
    assert analysis.headline["bound_violations"] == 0
    assert analysis.headline["gradient_sink_median"] > 3


def test_a_folder_is_the_file(loaded: Loaded, ids: torch.Tensor, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    folder = load_model(str(tmp_path), device="cpu")
    assert folder.model.config.layer_types == loaded.model.config.layer_types
    assert folder.model.config.rope_parameters == loaded.model.config.rope_parameters
    expected = loaded.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in folder.model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(folder.model(input_ids=ids).logits, loaded.model(input_ids=ids).logits)
    for text in (WORDS, "def f(x):\n    return x  # \u00e9\u4e2d\u6587 1234\n\n\n"):
        assert folder.tokenizer(text)["input_ids"] == loaded.tokenizer(text)["input_ids"]
        assert loaded.tokenizer.decode(loaded.tokenizer(text)["input_ids"], skip_special_tokens=True) == text
