"""A method whose losses are not finite is said to be broken, and nowhere taken for a good one."""

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from sinkscope.methods.linear_modules import linears
from sinkscope.passes.batches import batches_of
from sinkscope.quantization import ranking, unquantized
from sinkscope.quantization.noise import sqnr
from sinkscope.quantization.ranking import mean_loss, noisiest, rank
from sinkscope.quantization.run import quantize
from sinkscope.report.quantization.sentences import findings

BATCHES = batches_of(torch.arange(2, 34).view(2, 16), None, 1)


def test_a_sequence_without_a_loss_leaves_none_to_the_mean() -> None:
    assert math.isnan(mean_loss(pd.DataFrame({"loss_sum": [3.0, math.nan], "targets": [2, 2]})))
    assert mean_loss(pd.DataFrame({"loss_sum": [3.0, 5.0], "targets": [2, 2]})) == 2.0


@pytest.mark.parametrize("error", [math.inf, math.nan])
def test_a_module_that_overflows_is_the_noisiest(error: float) -> None:
    places: Any = [SimpleNamespace(name=name) for name in "abc"]
    noise = pd.DataFrame({"module": list("abc"), "sqnr_output": [sqnr(4.0, 1.0), sqnr(4.0, error), sqnr(4.0, 0.0)]})
    assert [place.name for place in noisiest(noise, places, 2)] == ["b", "a"]


def test_a_module_that_breaks_the_model_is_ranked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    places = linears(tiny.build("llama_gqa"))[:3]
    alone = {places[0].name: 1.5, places[1].name: math.nan, places[2].name: 2.5}
    now: list[str] = []

    def entered(_: Any, only: list[Any]) -> Any:
        now[:] = [only[0].name]
        return nullcontext()

    states = SimpleNamespace(losses=[1.0, 1.0], losses_from=lambda *_: [alone[now[0]], 1.0])
    probing = SimpleNamespace(lifted=lambda _: nullcontext())
    stub: Any = SimpleNamespace(name="w4", entered=entered, entered_whole=lambda: nullcontext(probing))
    monkeypatch.setattr(ranking, "kept_states", lambda *_: states)
    table = rank(tiny.build("llama_gqa"), "m", stub, places, BATCHES)
    assert table["module"].tolist() == [places[1].name, places[2].name, places[0].name]
    assert math.isnan(table["delta_alone"].iloc[0])


def test_the_module_whose_sparing_gives_the_model_a_loss_wins_back_most(monkeypatch: pytest.MonkeyPatch) -> None:
    places = linears(tiny.build("llama_gqa"))[:3]
    without = {places[0].name: math.nan, places[1].name: 2.5, places[2].name: math.nan}
    now: list[str] = []

    def lifted(place: Any) -> Any:
        now[:] = [place.name]
        return nullcontext()

    whole = SimpleNamespace(losses=[math.nan, 1.0], losses_from=lambda *_: [without[now[0]] if now else 1.0, 1.0])
    stub: Any = SimpleNamespace(
        name="w4", entered=lambda *_: nullcontext(), entered_whole=lambda: nullcontext(SimpleNamespace(lifted=lifted))
    )
    monkeypatch.setattr(ranking, "kept_states", lambda *_: whole)
    table = rank(tiny.build("llama_gqa"), "m", stub, places, BATCHES)
    kept = table.sort_values("recovered", ascending=False, kind="stable")["module"].tolist()
    assert kept[0] == places[1].name


def test_a_broken_method_has_no_loss_and_is_said_to_have_none(
    monkeypatch: pytest.MonkeyPatch, tiny_folders: dict[str, Path]
) -> None:
    losses = unquantized.losses

    def broken(model: Any, batches: Any, text: str = "") -> pd.DataFrame:
        measured = losses(model, batches, text)
        if "w4," in text:
            measured = measured.copy()
            measured.loc[0, "loss_sum"] = np.nan
        return measured

    monkeypatch.setattr(unquantized, "losses", broken)
    run = quantize(tiny_folders["llama_gqa"], ["w4", "w8"], sequences=4, tokens=24, device="cpu", rank_sequences=0).run
    table = run["quantization"].set_index("method")
    assert math.isnan(table.loc["w4", "loss"])
    assert math.isnan(table.loc["w4", "perplexity"])
    assert math.isfinite(table.loc["w8", "loss"])
    said = " ".join(findings(run))
    assert "w4 gave no finite loss" in said
    assert "nan" not in said
