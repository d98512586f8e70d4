"""`evaluate` under a cache of few bits: perplexity and needles are those of a model that reads from it."""

from contextlib import nullcontext
from typing import Any

import pytest

import sinkscope
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.evaluation.generation import continue_greedily
from sinkscope.evaluation.retrieval import plan_needles
from sinkscope.evaluation.settings import EvaluationSettings
from sinkscope.loading.load import load_model
from sinkscope.methods.cache.generating import GenerationCache
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.grammar import CacheRounding, GeneratingCache
from sinkscope.methods.probes import parse_probe, probed
from sinkscope.text.sources import open_documents

NEEDLE = EvaluationSettings(perplexity=False, variants=("single_2",), lengths=(224,), depths=1, seeds=1)
TEXT = EvaluationSettings(documents=1, characters=300, window=96, variants=())
COARSE = "cache-k2v2-g8"


def evaluate(name: str | None, settings: EvaluationSettings, **more: Any) -> sinkscope.Evaluation:
    return sinkscope.evaluate("demo", quantize=name, settings=settings, device="cpu", **more)


def test_needles_are_asked_of_the_model_with_that_cache() -> None:
    """What is written is what the model writes by hand with both put on, and not what it writes without."""
    loaded = load_model("demo", device="cpu")
    plain = evaluate(None, NEEDLE)
    (cell,) = plan_needles(loaded.model, loaded.tokenizer, open_documents("stdlib"), NEEDLE, (224,))
    probe, cache = parse_probe("w3"), CacheProbe(CacheRounding(2, 2, 8))
    assert probe is not None
    for name in (COARSE, f"w3+{COARSE}"):
        found = evaluate(name, NEEDLE)
        assert found.info["model"]["quantization"] == name
        assert found.info["model"]["method"]["granularity"].endswith("groups of 8")
        assert found.needles["expected"].tolist() == plain.needles["expected"].tolist()  # the same needles
        with cache.entered(loaded.model), probed(loaded.model, probe) if "w3" in name else nullcontext():
            by_hand = continue_greedily(loaded.model, loaded.tokenizer, [cell.prompt.ids], cell.prompt.new_tokens)
        assert found.needles["generated"].tolist() == by_hand
        assert found.needles["generated"].tolist() != plain.needles["generated"].tolist()


def test_perplexity_is_that_of_the_model_with_that_cache() -> None:
    plain, coarse, whole = (evaluate(name, TEXT) for name in (None, COARSE, f"{COARSE}-window96"))
    assert coarse.headline["loss"] > plain.headline["loss"] + 1e-3
    assert whole.headline["loss"] == pytest.approx(plain.headline["loss"], abs=1e-5)  # all is in the window


def test_generation_through_transformers_own_cache() -> None:
    loaded = load_model("demo", device="cpu")
    (cell,) = plan_needles(loaded.model, loaded.tokenizer, open_documents("stdlib"), NEEDLE, (224,))
    found = evaluate("fp8-cache", NEEDLE)
    assert found.info["model"]["quantization"] == "fp8-cache"
    assert "scale per layer" in found.info["model"]["method"]["granularity"]
    options = GenerationCache(GeneratingCache("fp8", 8)).options
    by_hand = continue_greedily(
        loaded.model, loaded.tokenizer, [cell.prompt.ids], cell.prompt.new_tokens, cache=options
    )
    assert found.needles["generated"].tolist() == by_hand
    assert evaluate("w8a8-dynamic+fp8-cache", NEEDLE).info["model"]["quantization"] == "w8a8-dynamic+fp8-cache"


@pytest.mark.parametrize(
    ("name", "settings", "more", "said"),
    [
        ("fp8-cache", TEXT, {}, "rounds the cache of generation alone, .*: use `perplexity=False` and leave out `tas"),
        (COARSE, NEEDLE, {"batch_size": 2}, "batches are padded: use `batch_size=1`"),
        ("cache-k2v2-g7", NEEDLE, {}, "groups of 7, which do not divide the [0-9]+ channels of a head"),
        (COARSE, NEEDLE, {"modules": "mlp.*"}, "`modules` is for .* cache-k2v2-g8 does not round linear modules"),
        (f"{COARSE}+{COARSE}", NEEDLE, {}, r"a \+ joins one method of linear maps and one cache, as w8a8-static\+cac"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    name: str, settings: EvaluationSettings, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(SinkscopeError if "divide" in said else RequestError, match=said):
        evaluate(name, settings, **more)
