"""`sinkscope.quantize` takes names, objects and keywords, and refuses what contradicts itself before anything loads."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny

import sinkscope
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import ModelSource, TextSource, Windows
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, parse_probe
from sinkscope.names import NONE
from sinkscope.passes.batches import batches_of
from sinkscope.quantization.ranking import losses
from sinkscope.quantization.run import Quantization, quantize
from sinkscope.quantization.settings import DEFAULT, QuantizationRequest, QuantizationSettings
from sinkscope.text.packing import pack
from sinkscope.text.sources import open_text

SMALL: dict[str, Any] = {"sequences": 3, "tokens": 24, "device": "cpu"}
DEMO = (ModelSource("demo"),)


@pytest.mark.parametrize("name", ["Probe", "calibrate", "parse_probe", "probed"])
def test_the_settings_need_no_torch_and_the_public_names_load_on_first_use(name: str) -> None:
    code = (
        "import sys; from sinkscope.quantization.settings import QuantizationRequest\n"
        "assert 'torch' not in sys.modules\n"
        f"from sinkscope.quantization import {name}; print({name}.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{name}\n"


def test_unknown_names_of_the_package_are_refused() -> None:
    import sinkscope.quantization

    with pytest.raises(AttributeError, match="no attribute 'unheard_of'"):
        sinkscope.quantization.unheard_of  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank_sequences": -1}, "`rank_sequences` must be at least 0"),
        ({"rank_limit": 0}, "`rank_limit` must be at least 1"),
        ({"calibration_data": "stdlib", "calibration_sequences": 0}, "`calibration_sequences` must be at least 1"),
        ({"calibration_sequences": 10**22}, r"`calibration_sequences` must be at most 2\^31 - 1"),
        ({"rank_sequences": 2**31}, r"`rank_sequences` must be at most 2\^31 - 1"),
        ({"rank_limit": 10**22}, r"`rank_limit` must be at most 2\^31 - 1"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        QuantizationSettings(**settings)
    with pytest.raises(RequestError, match=said):
        quantize("demo", **settings)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"models": []}, "name at least one model, and each of them once"),
        ({"models": ["demo", ModelSource("demo")]}, "name at least one model, and each of them once"),
        ({"models": "demo", "quantize": "nf4"}, "loaded in full precision: name methods instead"),
        ({"models": ModelSource("demo"), "dtype": "float32"}, "a ModelSource takes no loading options: dtype"),
        ({"models": "demo", "methods": ["w8", "nf4"], "modules": "mlp.*"}, "nf4 quantizes what its library does"),
        ({"models": "demo", "methods": ["none"], "modules": "mlp.*"}, "`methods` names none"),
        ({"models": "demo", "methods": ["w8"], "rank_by": "w4"}, "`rank_by=w4` is none of the probes among `methods`"),
        ({"models": "demo", "methods": ["w8a8"]}, "there is no method w8a8"),
        (
            {"models": "demo", "methods": ["w8"], "mitigate": ["rotat"]},
            "there is no mitigation rotat .* is rotate",
        ),
        ({"models": "demo", "methods": ["w8"], "mitigate": "keep", "rank_sequences": 0}, "`rank_sequences` must be at"),
        ({"models": "demo", "methods": ["none"], "mitigate": "rotate"}, "`mitigate=rotate` is put under the probes"),
        ({"models": "demo", "methods": ["w8"], "mitigate": "clip"}, "`mitigate=clip` makes no difference to w8"),
        ({"models": "demo", "methods": ["w8"], "sequences": 10**22}, r"`sequences` must be at most 2\^31 - 1"),
        ({"models": "demo", "methods": ["w8"], "tokens": 10**22}, r"`tokens` must be at most 2\^31 - 1"),
        ({"models": "demo", "methods": ["w8"], "batch_size": 10**22}, r"`batch_size` must be at most 2\^31 - 1"),
        ({"models": "demo", "methods": ["w8"], "data_options": {"columns": "text"}}, "a text has no option columns"),
    ],
)
def test_requests_that_could_never_work(arguments: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinkscope.methods.library.method.find_spec", lambda _: True)  # as if all were installed
    monkeypatch.setattr("sinkscope.quantization.one_model.load_named", lambda *_, **__: pytest.fail("a model loads"))
    with pytest.raises(RequestError, match=said):
        quantize(**arguments)


def test_a_cache_whose_groups_do_not_divide_a_head_is_refused_by_the_configuration_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sinkscope.quantization.one_model.load_named", lambda *_, **__: pytest.fail("a model loads"))
    with pytest.raises(SinkscopeError, match=r"in groups of 5, which do not divide the \d+ channels of a head"):
        quantize("demo", ["w8", "cache-k2v2-g5"])


def test_an_unknown_keyword_is_refused_as_python_does() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'ranked_by'"):
        quantize("demo", ranked_by="w8")  # type: ignore[call-arg]


def test_text_and_windows_to_calibrate_on() -> None:
    text = TextSource("corpus", split="test", column="body")
    plain = QuantizationRequest(DEMO, text, Windows(sequences=5))
    assert plain.settings.methods == DEFAULT
    assert plain.calibration_text is None
    assert plain.calibration_windows == plain.windows
    other = QuantizationRequest(DEMO, text, Windows(sequences=5), QuantizationSettings(calibration_data="other"))
    assert other.calibration_text == TextSource("other", split="test", column="body")
    assert other.calibration_windows.sequences == 5
    fewer = QuantizationSettings(calibration_data="other", calibration_sequences=2)
    assert QuantizationRequest(DEMO, text, Windows(sequences=5), fewer).calibration_windows == Windows(sequences=2)


def test_run_json_says_what_was_settled(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text('{"body": "' + "some words of a text that is read " * 20 + '"}\n')
    folder = str(tiny_folders["llama_gqa"])
    result = sinkscope.quantize(
        folder, ["w4", "none", "a4-static"], data=text, data_options={"column": "body"}, seed=3, **SMALL
    )
    assert isinstance(result, Quantization)
    assert result.info["settings"] == {
        "methods": [NONE, "w4", "a4-static"],
        "mitigate": [NONE],
        "modules": None,
        "calibration_data": None,
        "calibration_sequences": 3,
        "calibration_windows": "behind",
        "calibrated_methods": ["a4-static"],
        "rank_by": "w4",
        "rank_sequences": 4,
        "rank_limit": 64,
        "seed": 3,
        "batch_size": 1,
        "backward": False,
    }
    data = result.info["data"]
    assert {key: data[key] for key in ("source", "column", "sequences", "tokens", "bos", "comparable")} == {
        "source": str(text), "column": "body", "sequences": 3, "tokens": 24, "bos": "auto", "comparable": True,
    }  # fmt: skip
    assert list(result.headline) == [folder]
    assert set(result.ranking["method"]) == {"w4"}
    assert "config" not in data


def test_calibrated_windows_lie_behind_the_evaluated_ones(tmp_path: Path, tiny_folders: dict[str, Path]) -> None:
    """As many as are asked for, or as there are; without one behind, and something to calibrate, in one line."""
    text, folder = tmp_path / "text.txt", tiny_folders["llama_gqa"]
    text.write_text("".join(chr(97 + number % 26) * 7 for number in range(23)))  # 161 tokens and <eos>: 7 windows of 23
    given: dict[str, Any] = {"data": text, "tokens": 24, "device": "cpu", "rank_sequences": 0}
    few = quantize(folder, ["a4-static"], sequences=5, **given)
    assert few.info["settings"]["calibration_sequences"] == 2
    by_hand = pack(open_text(TextSource(str(text))), tiny.tokenizer(), tokens=24, bos=True, sequences=7)
    model = tiny.build("llama_gqa")
    probe = parse_probe("a4-static")
    assert probe is not None
    largest = calibrate(model, linears(model), batches_of(by_hand.input_ids[5:], None, 1))
    with CalibratedProbe("a4-static", probe, linears(model), largest).entered(model):
        expected = losses(model, batches_of(by_hand.input_ids[:5], None, 1))["loss_sum"]
    found = few.losses[few.losses["method"] == "a4-static"]["loss_sum"]
    assert found.tolist() == pytest.approx(expected.tolist())
    with pytest.raises(SinkscopeError, match=r"7 sequence\(s\) of 24 tokens and none behind them to calibrate on"):
        quantize(folder, ["a4-static"], sequences=7, **given)
    plain = quantize(folder, ["w4"], sequences=7, **given)  # nothing calibrates
    assert plain.info["settings"]["calibration_windows"] is None
    itself = quantize(folder, ["a4-static"], sequences=7, calibration_data=text, **given)
    assert itself.info["settings"]["calibration_windows"] == "named"
    one = quantize(folder, ["a4-static"], sequences=5, calibration_sequences=1, **given)
    assert one.info["settings"]["calibration_sequences"] == 1


def test_objects_and_keywords_measure_the_same(tiny_folders: dict[str, Path]) -> None:
    folder = tiny_folders["llama_gqa"]
    by_keyword = quantize(folder, ["w4"], isolate_documents=True, batch_size=2, rank_sequences=0, **SMALL)
    by_object = quantize(
        [ModelSource(str(folder), device="cpu")],
        ["w4"],
        data=TextSource("stdlib"),
        isolate_documents=True,
        batch_size=2,
        rank_sequences=0,
        sequences=3,
        tokens=24,
    )
    assert by_keyword.quantization.equals(by_object.quantization)
    assert by_keyword.info["settings"]["rank_by"] is None
    assert not {"ranking", "histograms"} & set(by_keyword.tables)


def test_the_first_models_context_settles_the_length_for_all(tmp_path: Path) -> None:
    folders = []
    for number, context in enumerate((40, 64)):
        model = tiny.build("llama_gqa")
        model.config.max_position_embeddings = context
        folders.append(tmp_path / str(number))
        model.save_pretrained(folders[-1])
        tiny.tokenizer().save_pretrained(folders[-1])
    result = quantize(folders, ["none"], sequences=2, device="cpu")
    assert result.info["data"]["tokens"] == 40
    assert result.info["data"]["comparable"]


def test_a_tokenizer_is_taken_instead_of_the_models_own(tmp_path: Path) -> None:
    tiny.build("llama_gqa").save_pretrained(tmp_path / "bare")
    result = quantize(tmp_path / "bare", ["none"], tokenizer=tiny.tokenizer(), **SMALL)
    assert result.losses["targets"].tolist() == [23, 23, 23]


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(RequestError, match="`seed` must be from 0 to"):
        QuantizationSettings(seed=seed)
