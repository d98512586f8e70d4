"""A verb measures the model that a method makes: its numbers are those of a model that was rounded by hand."""

import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import by_hand
import copier
import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor

import sinkscope
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.evaluation.settings import EvaluationSettings
from sinkscope.inputs import MethodOptions, ModelSource
from sinkscope.loading.load import Loaded, load_model
from sinkscope.methods.choose import LIBRARY
from sinkscope.methods.grammar import check_method, parse
from sinkscope.methods.library.method import LoadRequest, Method
from sinkscope.methods.under import asked
from sinkscope.names import LIBRARY_METHODS, METHODS, MODEL_METHODS, NONE, QUANTIZATIONS
from sinkscope.tables.run_folder import Run
from sinkscope.text.documents import Document
from sinkscope.text.packing import pack
from sinkscope.text.stdlib import stdlib_documents

PROBES = ["w8", "w8a8-dynamic", "w8a8-static", "w8a8-static-down"]
SETTINGS = Settings(sink_epsilon=0.04, sink_window=8, early=7, positions=16)
SMALL: dict[str, Any] = {"sequences": 3, "tokens": 24, "device": "cpu", "settings": SETTINGS}
TEXT = "".join(f"line {n} of {n * n}, " for n in range(60))
OTHER = "".join(f"{n} other words, {n % 7} of them odd; " for n in range(60))


@pytest.fixture
def texts(tmp_path: Path) -> tuple[str, str]:
    """A text to measure on, and another one to calibrate on."""
    for name, text in (("text.txt", TEXT), ("other.txt", OTHER)):
        (tmp_path / name).write_text(text)
    return str(tmp_path / "text.txt"), str(tmp_path / "other.txt")


def windows(text: str, tokens: int, sequences: int) -> Tensor:
    packed = pack([Document("text", text)], tiny.tokenizer(), tokens=tokens, bos=True, sequences=sequences)
    return packed.input_ids


def same(one: Run, other: Run, **tolerance: Any) -> None:
    assert one.tables.keys() == other.tables.keys()
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other[name], **tolerance)


def calibrated(name: str, other: str) -> dict[str, Any]:
    return {"calibration_data": other, "calibration_sequences": 2} if "static" in name else {}


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with weights so large that rounding shows."""
    return tiny.save(tiny.build("llama_gqa", initializer_range=0.3), tmp_path_factory.mktemp("loud"))


@pytest.mark.parametrize("name", PROBES)
def test_an_analysis_is_that_of_a_model_rounded_by_hand(name: str, loud: Path, texts: tuple[str, str]) -> None:
    text, other = texts
    found = sinkscope.analyze(loud, data=text, quantize=name, **calibrated(name, other), **SMALL)
    model = by_hand.round_by_hand_(sinkscope.load(loud), name, windows(OTHER, 24, 2))
    expected = sinkscope.analyze(model, input_ids=windows(TEXT, 24, 3), settings=SETTINGS)
    plain = sinkscope.analyze(loud, data=text, **SMALL)
    # Where the model differs by rounding, what is compared differs by less than a hundredth of that.
    assert abs(found.headline["loss"] - plain.headline["loss"]) > 1e-5
    assert found.headline["loss"] == pytest.approx(expected.headline["loss"], rel=1e-6)
    for table in ("heads", "positions", "branches", "sites", "values"):
        pd.testing.assert_frame_equal(found[table], expected[table], rtol=2e-3, atol=1e-6, obj=table)
    assert found.headline["bound_violations"] == 0


def test_an_analysis_of_rounded_weights_is_bit_for_bit_that_of_the_rounded_checkpoint(
    loud: Path, texts: tuple[str, str], tmp_path: Path
) -> None:
    model = sinkscope.load(loud)
    for layer in model.model.layers:
        for module in layer.modules():
            if isinstance(module, torch.nn.Linear):
                step = (module.weight.detach().abs().amax(1, keepdim=True) / 127).float()
                module.weight.data = (module.weight.detach() / step).round() * step
    tiny.save(model, tmp_path / "rounded")
    found = sinkscope.analyze(loud, data=texts[0], quantize="w8", **SMALL)
    same(found.run, sinkscope.analyze(tmp_path / "rounded", data=texts[0], **SMALL).run, check_exact=True)


@pytest.mark.parametrize("driver", [{"gradient_checkpointing": True}, {"batch_size": 2}])
def test_other_passes_measure_the_same(driver: dict[str, Any], loud: Path, texts: tuple[str, str]) -> None:
    options: dict[str, Any] = {"data": texts[0], "quantize": "w8a8-static", **calibrated("w8a8-static", texts[1])}
    one = sinkscope.analyze(loud, **options, **SMALL)
    same(one.run, sinkscope.analyze(loud, **options, **SMALL, **driver).run, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds needles, its tokenizer, and a haystack of its vocabulary.

    Its weights are small whole numbers, which 8 bits hold exactly, and its MLPs add nothing: here they add some noise.
    """
    folder = tmp_path_factory.mktemp("copier")
    model, tokenizer = copier.copier()
    noise = torch.Generator().manual_seed(0)
    for layer in model.model.layers:
        for module, size in ((layer.mlp.gate_proj, 0.2), (layer.mlp.up_proj, 0.2), (layer.mlp.down_proj, 0.02)):
            module.weight.data = size * torch.randn(module.weight.shape, generator=noise)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "haystack.txt").write_text(copier.haystack(3000))
    return folder


@pytest.mark.parametrize("name", PROBES)
def test_an_evaluation_is_that_of_a_model_rounded_by_hand(name: str, copying: Path) -> None:
    """Perplexity, and every answer that is generated with the cache on."""
    hay = str(copying / "haystack.txt")
    settings = EvaluationSettings(
        documents=2, characters=600, window=128, variants=("single_2", "multikey_1"), lengths=(200,), depths=2, seeds=2
    )
    options: dict[str, Any] = {"data": hay, "haystack": hay, "settings": settings, "batch_size": 2}
    found = sinkscope.evaluate(copying, quantize=name, device="cpu", **calibrated(name, hay), **options)
    model, tokenizer = sinkscope.load(copying, device="cpu"), copier.copier()[1]
    packed = pack([Document("hay", Path(hay).read_text())], tokenizer, tokens=128, bos=False, sequences=2)
    by_hand.round_by_hand_(model, name, packed.input_ids)
    expected = sinkscope.evaluate(model, tokenizer, **options)
    plain = sinkscope.evaluate(copying, device="cpu", **options)
    made, by_rounding = (abs(run.headline["loss"] - found.headline["loss"]) for run in (expected, plain))
    assert made < 0.05 * by_rounding
    assert found.needles["generated"].tolist() == expected.needles["generated"].tolist()
    assert plain.needles["found"].sum() >= 6  # of 8


def test_run_json_says_how_the_model_was_measured(loud: Path, texts: tuple[str, str]) -> None:
    text, other = texts
    static = sinkscope.analyze(
        loud, data=text, quantize="w8a8-static", modules="mlp.*", **calibrated("static", other), **SMALL
    ).info["model"]
    packed = pack([Document("other", OTHER)], tiny.tokenizer(), tokens=24, bos=True, sequences=2)
    assert static["quantization"] == "w8a8-static"
    assert static["method"] == {
        "weight_bits": 8,
        "activation_bits": 8,
        "granularity": "W per channel, A per tensor",
        "modules": "mlp.*",
        "calibration": {
            "source": other, "skipped_documents": 0, "sequences": 2, "tokens": 24, "bos": True, "sha256": packed.sha256,
        },
        "gradients": "straight-through",
    }  # fmt: skip
    forward = Settings(**{**SETTINGS.__dict__, "backward": False})
    weights = sinkscope.analyze(loud, data=text, quantize="w4", **{**SMALL, "settings": forward}).info["model"]
    assert weights["method"] == {
        "weight_bits": 4, "activation_bits": None, "granularity": "W per channel", "modules": None,
    }  # fmt: skip
    plain = sinkscope.analyze(loud, data=text, quantize=NONE, **SMALL).info["model"]
    assert plain["quantization"] is None
    assert "method" not in plain
    assert plain["weights_sha256"] == weights["weights_sha256"]


def test_the_text_to_calibrate_on_is_not_the_evaluated_one(loud: Path, texts: tuple[str, str]) -> None:
    """`stdlib` where another text is evaluated; where it is `stdlib` itself, behind the documents that were read."""

    def calibration(documents: int) -> str:
        left = list(stdlib_documents())[documents : documents + 4]
        return pack(left, tiny.tokenizer(), tokens=24, bos=True, sequences=3).sha256

    elsewhere = sinkscope.analyze(loud, data=texts[0], quantize="a8-static", **SMALL).info["model"]["method"]
    assert elsewhere["calibration"]["sha256"] == calibration(0)
    here = sinkscope.analyze(loud, quantize="a8-static", **SMALL).info
    assert here["model"]["method"]["calibration"]["skipped_documents"] == 1
    assert here["model"]["method"]["calibration"]["sha256"] == calibration(1) != here["data"]["sha256"]
    named = sinkscope.analyze(loud, quantize="a8-static", calibration_data="stdlib", **SMALL).info
    assert named["model"]["method"]["calibration"]["sha256"] == named["data"]["sha256"]
    few = EvaluationSettings(documents=3, characters=100, variants=())
    scored = sinkscope.evaluate(loud, quantize="a8-static", settings=few, device="cpu", calibration_sequences=1)
    assert scored.info["model"]["method"]["calibration"]["skipped_documents"] == 3


def test_a_method_is_what_quantize_measures(loud: Path, texts: tuple[str, str]) -> None:
    """The same windows, the same text to calibrate on: one loss."""
    text = texts[0]
    names = ["w8a8-dynamic", "w8a8-static", "w8a8-static-down", "w4"]
    table = sinkscope.quantize(
        loud, names, data=text, calibration_data=text, sequences=3, tokens=24, device="cpu", rank_sequences=0
    ).quantization
    for name in names:
        options = {"calibration_data": text} if "static" in name else {}
        found = sinkscope.analyze(loud, data=text, quantize=name, **options, **SMALL)
        expected = table.loc[table["method"] == name, "loss"].item()
        assert found.headline["loss"] == pytest.approx(expected, rel=1e-6), name


@pytest.mark.parametrize("name", ["nf4", "int8", "torchao-int8-weights", "torchao-int8"])
def test_library_methods(name: str, tmp_path: Path, texts: tuple[str, str]) -> None:
    method = LIBRARY[name]
    pytest.importorskip(method.package)
    folder = tiny.save(
        tiny.build("llama_gqa", hidden_size=64, intermediate_size=128, head_dim=16, initializer_range=0.3), tmp_path
    )
    small = {**SMALL, "settings": Settings(**{**SETTINGS.__dict__, "backward": False})}
    found = sinkscope.analyze(folder, data=texts[0], quantize=name, **small)
    table = sinkscope.quantize(folder, [name], data=texts[0], sequences=3, tokens=24, device="cpu").quantization
    assert found.headline["loss"] == pytest.approx(table.loc[table["method"] == name, "loss"].item(), rel=1e-6)
    assert found.info["model"]["quantization"] == name
    assert found.info["model"]["method"]["weight_bits"] == method.weight_bits
    assert found.info["model"]["method"]["library"] == f"{method.package} {metadata.version(method.package)}"
    if not method.no_gradient:
        backward = sinkscope.analyze(folder, data=texts[0], quantize=name, **SMALL)
        assert backward.branches.groupby("layer")["bloat"].max().min() > 0


def test_a_library_that_loads_the_model_itself(
    loud: Path, texts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given the windows to calibrate on; what else was done to the model in memory is done to the new one too."""
    given: list[LoadRequest] = []

    def load(request: LoadRequest) -> Loaded:
        given.append(request)
        loaded = load_model(request.model, **request.loading)
        return replace(loaded, model=by_hand.round_by_hand_(loaded.model, "w8", torch.empty(0)))

    monkeypatch.setattr("sinkscope.methods.grammar.LIBRARY_METHODS", (*LIBRARY_METHODS, "own", "loses"))
    monkeypatch.setitem(LIBRARY, "own", Method("own", 8, None, "W per channel", load, "torch", calibrates=True))
    options = calibrated("static", texts[1])
    found = sinkscope.analyze(loud, data=texts[0], quantize="own", **options, **SMALL)
    assert given[0].calibration_ids is not None
    assert torch.equal(given[0].calibration_ids, windows(OTHER, 24, 2))
    assert found.headline["loss"] == sinkscope.analyze(loud, data=texts[0], quantize="w8", **SMALL).headline["loss"]
    assert found.info["model"]["quantization"] == "own"
    settings = EvaluationSettings(documents=1, characters=300, window=96, variants=(), yarn=2.0)
    own, w8 = (
        sinkscope.evaluate(loud, data=texts[0], quantize=name, settings=settings, device="cpu", **more)
        for name, more in (("own", options), ("w8", {}))
    )
    assert own.info["model"]["context"] == w8.info["model"]["context"] == 2 * tiny.CONTEXT
    assert own.headline["loss"] == w8.headline["loss"]
    monkeypatch.setitem(
        LIBRARY, "loses", Method("loses", 8, None, "W", lambda _: load_model("demo"), "torch", calibrates=True)
    )
    with pytest.raises(SinkscopeError, match="loses lost the V-scale of demo-vscale"):
        sinkscope.analyze("demo-vscale", data=texts[0], quantize="loses", **SMALL)


@pytest.mark.parametrize(
    ("source", "options", "wanted", "said"),
    [
        ({"quantize": "w8a8"}, {}, {}, "no method w8a8 for `quantize`; the nearest is w8a8-static; there are: none"),
        ({"quantize": "w8"}, {}, {"stream": True}, "`quantize=w8` is put on a model in memory.* leave out `stream`"),
        ({"quantize": "torchao-int8"}, {}, {"backward": True}, "no gradient passes .*: use `backward=False`"),
        ({"quantize": "smoothquant"}, {}, {"backward": True}, "no gradient passes .*: use `backward=False`"),
        ({}, {"modules": "mlp.*"}, {}, "`modules` is for a method that `quantize` names, and there is none"),
        ({"quantize": NONE}, {"calibration_data": "x"}, {}, "`calibration_data` is for .*, and there is none"),
        ({"quantize": "w8"}, {"calibration_sequences": 2}, {}, "`calibration_sequences` .* w8 does not calibrate"),
        ({"quantize": "nf4"}, {"modules": "mlp.*"}, {}, "nf4 quantizes what its library does"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_loads(
    source: dict[str, Any],
    options: dict[str, Any],
    wanted: dict[str, bool],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sinkscope.methods.library.method.find_spec", lambda _: True)  # as if all were installed
    for name, method in LIBRARY.items():
        monkeypatch.setitem(LIBRARY, name, Method(**{**method.__dict__, "check": lambda *_: None}))
    with pytest.raises(RequestError, match=said):
        asked(ModelSource("demo", **source), MethodOptions(**options)).refuse(**wanted)


def test_methods_that_loading_does_not_know_are_said_to_be_for_verbs(loud: Path) -> None:
    with pytest.raises(RequestError, match="`quantize=w8a8-static` is none of nf4, int8"):
        sinkscope.load(loud, quantize="w8a8-static")


def test_what_help_lists_is_what_there_is() -> None:
    listed = [name.split(" ")[0] for name in METHODS.split(", ")]
    assert {name for name in listed if name in LIBRARY} == set(LIBRARY)
    probes = [name for name in listed if name not in (NONE, *LIBRARY)]
    assert all(parse(name) is not None for name in probes)
    assert len(probes) > 10
    assert {name for name, method in LIBRARY.items() if method.streams} == set(QUANTIZATIONS)


def test_a_cache_is_refused_where_a_model_is_measured_under_a_method() -> None:
    alone = "rounds the cache, which a comparison of methods and an evaluation alone measure: leave out `quantize`"
    for name in ("cache-k4v4", "fp8-cache", "w8+cache-k4v4"):
        with pytest.raises(RequestError, match=re.escape(f"{name} {alone}")):
            asked(ModelSource("demo", quantize=name))
    with pytest.raises(RequestError, match=r"and name it among the `methods` of quantize, or to evaluate"):
        check_method("cache-k4v4", "quantize", caches=False)
    check_method("cache-k4v4", "methods")
    assert asked(ModelSource("demo", quantize="w8+cache-k4v4"), caches=True).name == "w8+cache-k4v4"
    with pytest.raises(RequestError, match="neither streamed nor differentiated"):
        asked(ModelSource("demo", quantize="cache-k4v4"), caches=True).refuse(backward=True)
    assert "cache-" in METHODS
    assert "cache-" not in MODEL_METHODS
    with pytest.raises(RequestError) as caught:
        check_method("w9000", "quantize", caches=False)
    assert str(caught.value).endswith(MODEL_METHODS)


def test_a_method_goes_by_its_canonical_name() -> None:
    assert asked(ModelSource("demo", quantize="w-mxfp4-a-mxfp4")).name == "mxfp4"
