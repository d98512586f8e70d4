"""Probes under mitigations, from the request to the tables: same targets, changes by hand, nothing left behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import ModelSource
from sinkscope.methods.probes import CalibratedProbe
from sinkscope.mitigations.clip import Clip
from sinkscope.mitigations.registry import mitigation_of
from sinkscope.quantization import mitigated, unquantized
from sinkscope.quantization.changes import change
from sinkscope.quantization.run import Quantization, quantize
from sinkscope.tables.builder import Rows

NAMES = ["smooth", "rotate", "prefix", "clip", "keep-2", "rotate+keep"]
METHODS = ["w4", "a4-static"]
SMALL: dict[str, Any] = {"sequences": 4, "tokens": 24, "device": "cpu", "rank_sequences": 1, "rank_limit": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model, and its tokenizer, which puts <bos> before every window."""
    return tiny.save(tiny.build("llama_gqa"), tmp_path_factory.mktemp("random") / "model")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Quantization:
    return quantize(folder, METHODS, **SMALL)


@pytest.fixture(scope="module")
def run(folder: Path) -> Quantization:
    sinks = Rows("sinks")  # a random model has none
    sinks.add(layer=0, head=0, sequence=0, position=0, token="x", alpha=0.9)  # noqa: S106
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinkscope.mitigations.prefix.measure", lambda *_, **__: {"sinks": sinks.frame()})
        return quantize(folder, METHODS, mitigate=NAMES, **SMALL)


def test_rows_without_a_mitigation_are_as_if_there_were_none(plain: Quantization, run: Quantization) -> None:
    table = run.quantization[run.quantization["mitigation"] == "none"].reset_index(drop=True)
    assert table["method"].tolist() == ["none", *METHODS]
    pd.testing.assert_frame_equal(table.iloc[:, :11], plain.quantization.iloc[:, :11])
    assert table["against_unmitigated"].isna().all()
    assert run.headline == plain.headline


def test_every_format_stands_under_every_mitigation_that_concerns_it(run: Quantization) -> None:
    table = run.quantization
    for name in NAMES:
        under = table[table["mitigation"] == name]["method"].tolist()
        mitigation = mitigation_of(name)
        assert mitigation is not None
        assert under == (["none"] if mitigation.changes_model else []) + (["a4-static"] if name == "clip" else METHODS)
    losses = run.losses
    assert (losses["targets"] == 23).all()  # the same targets everywhere: all tokens of a window but its first
    assert len(losses) == 4 * len(table)
    assert run.info["settings"]["mitigate"] == ["none", *NAMES]


def test_the_unquantized_model_stays(run: Quantization) -> None:
    """Also under `prefix`, as all windows begin with <bos>, which is all of it here."""
    table = run.quantization[(run.quantization["method"] == "none") & (run.quantization["mitigation"] != "none")]
    chose = table.set_index("mitigation")["mitigation_chose"]
    assert chose["prefix"].split()[0] == "'<bos>'"
    exact = table[~table["mitigation"].isin(["prefix"] if chose["prefix"] != "'<bos>'" else [])]
    assert np.allclose(exact["delta"], 0, atol=1e-5)


def test_changes_are_paired_with_the_unmitigated_format(run: Quantization) -> None:
    losses = {key: rows for key, rows in run.losses.groupby(["method", "mitigation"])}  # noqa: C416
    for row in run.quantization.to_dict("records"):
        measured = losses[row["method"], row["mitigation"]]
        exact = change(measured, losses["none", "none"], seed=0)
        assert [row[key] for key in exact] == pytest.approx(list(exact.values()), abs=1e-9)
        if row["mitigation"] != "none":
            against = change(measured, losses[row["method"], "none"], seed=0)
            assert [row[f"against_unmitigated{end}"] for end in ("", "_low", "_high")] == pytest.approx(
                list(against.values()), abs=1e-9
            )


def test_what_was_chosen_is_kept(run: Quantization) -> None:
    chose = run.quantization.set_index(["method", "mitigation"])["mitigation_chose"]
    assert chose["w4", "smooth"] == "alpha 0.5"
    assert "Hadamard, 32" in chose["w4", "rotate"]
    assert chose["a4-static", "clip"].endswith("of 14 modules clipped")
    assert chose["w4", "keep-2"].count("layer") == 2
    assert chose["w4", "rotate+keep"].count("layer") == 3


def test_numbers_do_not_depend_on_the_batch_size(folder: Path) -> None:
    """Neither what is searched on a few windows nor what is ranked on the first of them."""

    def table(batch: int) -> pd.DataFrame:
        asked: dict[str, Any] = {**SMALL, "sequences": 7, "rank_limit": 7, "batch_size": batch}
        found = quantize(folder, ["w4a4-static"], mitigate=["clip", "clip-90", "smooth-search", "keep-3"], **asked)
        return found.quantization.set_index(["method", "mitigation"])

    alone, together = table(1), table(5)
    assert alone["mitigation_chose"].to_dict() == together["mitigation_chose"].to_dict()
    assert together["delta"].to_numpy() == pytest.approx(alone["delta"].to_numpy(), abs=1e-5)


def test_what_is_left_of_outliers(run: Quantization) -> None:
    table = run["mitigation_sites"]
    assert list(dict.fromkeys(table["mitigation"])) == ["none", "smooth", "rotate", "prefix", "rotate+keep"]
    assert (table.groupby("mitigation")["module"].nunique() == 14).all()
    largest = table[table["site"] == "mlp.gate_proj"].groupby("mitigation")["abs_max"].max()
    assert largest["rotate"] != largest["none"]
    assert (table["kurtosis"] >= 1).all()


def test_pairs_of_models_stand_under_the_same_mitigation(folder: Path, tiny_folders: dict[str, Path]) -> None:
    models = [ModelSource(str(one), device="cpu") for one in (folder, tiny_folders["llama_gqa"])]
    few = {"sequences": 3, "tokens": 24, "rank_sequences": 0}
    made = quantize(models, ["w4"], mitigate=["smooth", "rotate"], **few)  # type: ignore[arg-type]
    between = made.paired[made.paired["model"] != made.paired["other_model"]]
    rows = set(zip(between["method"], between["mitigation"], strict=True))
    assert rows == {(method, name) for method in ("none", "w4") for name in ("none", "smooth", "rotate")}
    assert (between["mitigation"] == between["other_mitigation"]).all()


def test_a_model_without_a_sink_has_no_prefix(tiny_folders: dict[str, Path]) -> None:
    with pytest.raises(SinkscopeError, match=r"`mitigate=prefix`: no head of .* has a sink at token 0"):
        quantize(tiny_folders["llama_gqa"], ["w4"], mitigate="prefix", **SMALL)


def test_that_there_is_no_sink_is_known_before_any_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    losses = unquantized.losses
    monkeypatch.setattr(unquantized, "losses", lambda *given: order.append("losses") or losses(*given))
    monkeypatch.setattr(mitigated, "say", order.append)
    quantize(folder, ["a4-static"], mitigate=["prefix+clip", "clip"], **{**SMALL, "rank_sequences": 0})
    assert order[0].startswith("prefix+clip is left out of ")
    assert "losses" in order
    order.clear()
    with pytest.raises(SinkscopeError, match="has a sink at token 0"):
        quantize(folder, ["a4-static"], mitigate=["prefix", "prefix+clip"], **{**SMALL, "rank_sequences": 0})
    assert "losses" not in order


def test_structures_are_refused_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import families

    families.saved("phi", tmp_path / "phi")
    monkeypatch.setattr("sinkscope.quantization.one_model.measure_unquantized", lambda *_: pytest.fail("it measures"))
    with pytest.raises(SinkscopeError, match="`mitigate=rotate` is not exact on a 'phi': its branches are parallel"):
        quantize(tmp_path / "phi", ["w4"], mitigate="rotate", **SMALL)


def test_keep_needs_a_ranking(folder: Path) -> None:
    with pytest.raises(RequestError, match="`rank_sequences` must be at least 1"):
        quantize(folder, ["w4"], mitigate="keep", **{**SMALL, "rank_sequences": 0})


def test_a_mitigation_that_cannot_act_is_left_out_beside_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A random model has no sink, which is seen when the rest is measured; that is not lost."""
    found = quantize(folder, ["a4-static"], mitigate=["prefix", "clip"], **{**SMALL, "rank_sequences": 0})
    assert found.quantization["mitigation"].tolist() == ["none", "none", "clip"]
    (note,) = [note for note in found.info["notes"] if "prefix" in note]
    assert note.startswith(f"{folder}, prefix: left out. mitigate=prefix: no head of ")
    assert "prefix is left out of" in capsys.readouterr().err


def test_of_what_is_left_out_no_row_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where some of its formats were measured before it turned out."""
    seen = []

    def ready(_: Clip, __: Any, calibrated: CalibratedProbe) -> Any:
        seen.append(calibrated.name)
        if calibrated.name == "a8-static":
            raise SinkscopeError("no more")
        return calibrated, "as it is"

    monkeypatch.setattr(Clip, "ready", ready)
    found = quantize(folder, ["a4-static", "a8-static"], mitigate=["clip", "smooth"], **{**SMALL, "rank_sequences": 0})
    assert seen == ["a4-static", "a8-static"]
    for table in (found.quantization, found.losses):
        assert set(table["mitigation"]) == {"none", "smooth"}
