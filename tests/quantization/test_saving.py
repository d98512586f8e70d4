"""`save`: the row that a comparison hands over, from the rule to a folder that other programs load."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
from transformers import AutoModelForCausalLM

import sinkscope
from sinkscope.cli import main
from sinkscope.errors import RequestError
from sinkscope.methods.choose import choose
from sinkscope.mitigations.registry import mitigations_of
from sinkscope.names import NONE
from sinkscope.passes.batches import batches_of
from sinkscope.quantization.ranking import losses, mean_loss
from sinkscope.quantization.run import quantize
from sinkscope.quantization.saving import BOUND, Row, best_of, rows_to_save
from sinkscope.quantization.settings import QuantizationSettings
from sinkscope.tables.run_folder import read_run
from sinkscope.text.packing import pack
from sinkscope.text.sources import open_text
from sinkscope.vscale import attach_, save

pytest.importorskip("compressed_tensors")

SMALL: dict[str, Any] = {"sequences": 3, "tokens": 24, "device": "cpu", "rank_sequences": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.build("llama_gqa"), tmp_path_factory.mktemp("random") / "model")


def _table(*rows: tuple[str, str, int, int | None, float, float]) -> pd.DataFrame:
    names = ["method", "mitigation", "weight_bits", "activation_bits", "delta", "delta_high"]
    return pd.DataFrame(rows, columns=names).astype({"activation_bits": float})


def test_best_is_the_fewest_bits_within_the_bound() -> None:
    table = _table(
        ("w8", NONE, 8, None, 0.0, 0.001),
        ("w8a8-static", NONE, 8, 8, 0.02, 0.03),
        ("w4", NONE, 4, None, 0.04, BOUND),
        ("w4", "smooth", 4, None, 0.03, BOUND),
        ("w4a8-dynamic", NONE, 4, 8, 0.03, BOUND + 0.001),
        ("w3", NONE, 3, None, 0.5, 0.6),
    )
    rows = [Row(*pair) for pair in zip(table["method"], table["mitigation"], strict=True)]
    row, by = best_of(table, rows)
    assert (row, str(row)) == (Row("w4", "smooth"), "smooth/w4")  # of equal bits, the smaller change
    assert "fewest bits" in by
    assert best_of(table, [Row("w8"), Row("w8a8-static")])[0] == Row("w8a8-static")  # inputs count, too
    row, by = best_of(table, [Row("w3"), Row("w4a8-dynamic")])
    assert row == Row("w4a8-dynamic")
    assert "none changes by at most" in by
    row, by = best_of(table.assign(delta_high=float("nan")), rows)
    assert (row, by.startswith("the lowest change")) == (Row("w8"), True)


def _rows(methods: list[str], mitigate: list[str], place: Path, row: str | None = None) -> list[str]:
    settings = QuantizationSettings(save=place, save_row=row)
    return list(map(str, rows_to_save(settings, choose(methods), mitigations_of(mitigate))))


def test_what_can_be_saved_of_a_request(tmp_path: Path) -> None:
    methods = ["w4g16", "a8-static", "w8a8-static", "w8a8-static-dynamic-down", "mxfp4"]
    mitigate = [NONE, "smooth", "rotate", "clip", "smooth+keep", "prefix+clip"]
    found = _rows(methods, mitigate, tmp_path / "saved")
    assert found == ["w4g16", "w8a8-static", "smooth/w4g16", "smooth/w8a8-static", "clip/w8a8-static",
                     "smooth+keep/w4g16", "smooth+keep/w8a8-static"]  # fmt: skip
    assert _rows(methods, mitigate, tmp_path / "saved", "smooth/w4g16") == ["smooth/w4g16"]
    assert rows_to_save(QuantizationSettings(), choose(methods), {}) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"save_row": "mxfp4"}, "`save_row=mxfp4` cannot be saved: .* what can be: w4g16 of this request"),
        ({"save_row": "rotate/w4g16"}, "rotates what down_proj reads while the model runs"),
        ({"save_row": "nf4"}, "none of the probes"),
        ({"save_row": "w2"}, "names none of `methods`"),
        ({"save_row": "smooth/w4g16"}, "names none of `mitigate`"),
        ({"save_row": "w4g16", "save": None}, "name the folder too"),
        ({"methods": ["mxfp4", "nf4"], "mitigate": NONE}, "no method that can be saved among `methods`"),
        ({"models": ["demo", "demo-vscale"]}, "a checkpoint of one model"),
        ({"models": "demo-vscale"}, "V-scale is no part of that"),
        ({"out": "there/run", "save": "there"}, "lie in each other"),
        ({"save": "full"}, "exists and is not empty"),
    ],
)
def test_what_cannot_be_saved_says_so_before_anything_is_loaded(
    asked: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    monkeypatch.setattr("sinkscope.methods.library.method.find_spec", lambda _: True)
    monkeypatch.setattr("sinkscope.quantization.one_model.load_named", lambda *_, **__: pytest.fail("a model loads"))
    methods = ["w4g16", "mxfp4", "nf4"]
    arguments = {"models": "demo", "methods": methods, "mitigate": ["none", "rotate"], "save": "saved", **asked}
    with pytest.raises(RequestError, match=said):
        quantize(**arguments)
    assert {path.name for path in tmp_path.iterdir()} == {"full"}


def test_a_row_is_measured_saved_and_read_by_others(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "saved"
    run = quantize(folder, ["w4g16", "w8a8-static"], mitigate=["smooth", "keep"], save=place,
                   save_row="smooth/w8a8-static", **{**SMALL, "rank_sequences": 1})  # fmt: skip
    assert run.info["saved"] == {
        "folder": str(place), "method": "w8a8-static", "mitigation": "smooth", "by": "it was named",
        "format": "int-quantized",
    }  # fmt: skip
    assert any("smooth/w8a8-static: saved in" in note for note in run.info["notes"])
    model = AutoModelForCausalLM.from_pretrained(place)
    packed = pack(open_text(sinkscope.TextSource()), tiny.tokenizer(), tokens=24, bos=True, sequences=3)
    assert packed.sha256 == run.info["data"]["sha256"][str(folder)]
    found = mean_loss(losses(model, batches_of(packed.input_ids, None, 1)))
    rows = run.quantization.set_index(["mitigation", "method"])
    measured = rows.loc[("smooth", "w8a8-static"), "loss"]
    # Inputs beyond the calibrated range are -128 steps there and -127 here; nothing else differs.
    assert found == pytest.approx(measured, abs=2e-3)
    assert abs(measured - rows.loc[("none", "w4g16"), "loss"]) > 2e-3
    settings = sinkscope.Settings(backward=False, sink_window=8, early=7, positions=16)
    capfd.readouterr()
    analysis = sinkscope.analyze(place, settings=settings, sequences=2, tokens=16, device="cpu")
    assert analysis.info["model"]["quantization"] == "compressed-tensors"
    assert capfd.readouterr().err == ""  # the library's bars are its own affair
    with pytest.raises(RequestError, match=r"no gradient passes through .* use `backward=False`"):
        sinkscope.analyze(place, sequences=2, tokens=16, device="cpu")


@pytest.mark.usefixtures("one_page")
def test_the_best_row_from_the_command_line(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = ["--sequences", "2", "--tokens", "16", "--device", "cpu", "--rank-sequences", "0"]
    asked = ["quantize", str(folder), *small, "--methods", "w8,w3g16"]
    assert main([*asked, "--out", str(tmp_path / "run"), "--save", str(tmp_path / "saved")]) == 0
    assert "saved in" in capfd.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"run", "saved"}
    assert read_run(tmp_path / "run").info["saved"]["folder"] == str(tmp_path / "saved")
    assert main([*asked, "--out", str(tmp_path / "again"), "--save", str(tmp_path / "saved")]) == 2
    said = capfd.readouterr().err
    assert "exists and is not empty: choose another place to" in said
    assert said.count("\n") == 1


def test_a_model_with_v_scale_in_a_folder(tmp_path: Path) -> None:
    valved = tmp_path / "valved"
    save(attach_(tiny.build("llama_gqa")), valved)
    tiny.tokenizer().save_pretrained(valved)
    with pytest.raises(RequestError, match="V-scale is no part of that"):
        quantize(valved, ["w8"], save=tmp_path / "saved", **SMALL)
