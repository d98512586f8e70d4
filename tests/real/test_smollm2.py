"""A real pretrained Llama: its sinks, and what holds for tiny models, on weights that nobody here trained."""

from pathlib import Path

import numpy as np
import pandas.testing
import pytest
import torch
from reference import measure, reference_tables

import sinkscope
from sinkscope import Scope, Settings
from sinkscope.analysis.run import Analysis
from sinkscope.loading.load import Loaded, load_model
from sinkscope.mitigations.mitigation import Subject
from sinkscope.mitigations.prefix import prefixed
from sinkscope.mitigations.registry import mitigation_of
from sinkscope.passes.batches import batches_of
from sinkscope.vscale import attach_, attached, detach_, save


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Loaded:
    return load_model(str(folder), device="cpu")


@pytest.fixture(scope="module")
def analysis(folder: Path) -> Analysis:
    return sinkscope.analyze(folder, sequences=2, tokens=256, device="cpu")


@pytest.fixture
def ids(loaded: Loaded) -> torch.Tensor:
    words = "A model that reads a text looks back at its first token more often than at any other one. " * 6
    found: torch.Tensor = loaded.tokenizer(words, return_tensors="pt")["input_ids"][:, :64]
    return found


def test_the_file_is_analyzed_as_the_folder(smollm2: Path, analysis: Analysis) -> None:
    packed = sinkscope.analyze(smollm2, sequences=2, tokens=256, device="cpu")
    assert packed.headline == analysis.headline
    assert packed.info["data"] == analysis.info["data"]
    assert packed.info["model"]["gguf"]["tensors"] == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    for name, table in analysis.run.tables.items():
        pandas.testing.assert_frame_equal(packed.run.tables[name], table, check_exact=True, obj=name)


def test_token_0_is_a_sink_with_massive_activations(analysis: Analysis) -> None:
    headline = analysis.headline
    assert headline["sink_rate_mean"] > 0.6
    assert headline["residual_t0_over_early"] > 30
    assert headline["bound_violations"] == 0
    massive = analysis.massive[analysis.massive["is_massive"] & (analysis.massive["site"] == "h_out")]
    largest = massive.loc[massive["value"].abs().idxmax()]
    assert (largest["channel"], largest["position"]) == (507, 0)
    assert headline["massive_first_layer"] == 11


def test_streamed_as_resident(folder: Path, analysis: Analysis) -> None:
    streamed = sinkscope.analyze(folder, sequences=2, tokens=256, device="cpu", stream=True)
    assert streamed.info["data"] == analysis.info["data"]
    for name in ("layers", "heads"):
        expected, found = analysis.run.tables[name], streamed.run.tables[name]
        pandas.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-6, obj=name)


def test_as_the_slow_reference(loaded: Loaded, ids: torch.Tensor) -> None:
    settings = Settings(positions=16, early=7)
    found = sinkscope.analyze(loaded.model, input_ids=ids, settings=settings)
    expected = reference_tables(measure(loaded.model, ids), settings)
    layers, reference = found.layers.set_index("layer"), expected["layers"].set_index("layer")
    np.testing.assert_allclose(layers["sink_rate"], reference["sink_rate"], atol=1e-6)
    keys = ["layer", "site", "position"]
    norms, slow = found.positions.set_index(keys), expected["positions"].set_index(keys)
    np.testing.assert_allclose(norms["norm"], slow.loc[norms.index, "norm"].astype(float), rtol=1e-4)


def test_vscale_there_and_back(folder: Path, ids: torch.Tensor, tmp_path: Path) -> None:
    bare = load_model(str(folder), device="cpu")
    model = bare.model
    with torch.no_grad():
        before = model(input_ids=ids).logits
        attach_(model)
        valved = model(input_ids=ids).logits
        save(model, tmp_path / "valved")
        bare.tokenizer.save_pretrained(tmp_path / "valved")
        again = load_model(str(tmp_path / "valved"), device="cpu").model
        assert len(attached(again)) == 30
        assert torch.equal(again(input_ids=ids).logits, valved)
        detach_(model)
        assert torch.equal(model(input_ids=ids).logits, before)
    assert not torch.equal(valved, before)


def test_a_scope_leaves_generation_as_it_is(loaded: Loaded, ids: torch.Tensor) -> None:
    options = {"max_new_tokens": 8, "do_sample": False, "use_cache": False}  # whole sequences are measured
    plain = loaded.model.generate(ids[:, :16], **options)
    with Scope(loaded.model, settings=Settings(backward=False)):
        scoped = loaded.model.generate(ids[:, :16], **options)
    assert torch.equal(plain, scoped)


@pytest.mark.parametrize("name", ["smooth", "rotate"])
def test_mitigations_leave_logits(loaded: Loaded, ids: torch.Tensor, name: str) -> None:
    """Tied embeddings and all: they are untied on the copy alone."""
    mitigation = mitigation_of(name)
    assert mitigation is not None
    model = loaded.model.float()
    subject = Subject(model, "smollm2", batches_of(ids, None, 1), ids, loaded.tokenizer)
    with torch.no_grad():
        exact = model(input_ids=ids).logits
        changed = next(mitigation.variants(subject, {})).model
        assert (changed(input_ids=ids).logits - exact).abs().max() < 1e-4
        assert torch.equal(model(input_ids=ids).logits, exact)
    assert model.config.tie_word_embeddings


def test_a_prefix_is_the_text_before_it(loaded: Loaded, ids: torch.Tensor) -> None:
    model = loaded.model.float()
    with torch.no_grad():
        exact = model(input_ids=torch.cat([torch.tensor([[1, 198]]), ids], dim=1)).logits[:, 2:]
        with prefixed(model, [1, 198], cut=False):
            assert (model(input_ids=ids, use_cache=False).logits - exact).abs().max() < 1e-4
