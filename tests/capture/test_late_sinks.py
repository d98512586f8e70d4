"""Column sums at sinks of other sequences: all of them, in one sweep where it looks as if there were late sinks."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from reference.models import tiny as sinking
from reference.models import tokens
from torch import Tensor, nn

from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.measure import measure
from sinkscope.capture.micro_batch import MicroBatch
from sinkscope.capture.recorder import Recorder
from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.capture.statistics import head_statistics
from sinkscope.capture.statistics.statistic import reading
from sinkscope.models.families import family_of
from sinkscope.models.taps.attention_tap import AttentionCall
from sinkscope.tables.run_folder import Run

SETTINGS = Settings(sink_window=8, early=7, positions=16)
EVERY = Settings(sink_window=8, early=7, positions=16, columns="all")
DRIVERS = [Resident, LayerByLayer]


class Calls:
    """How many tokens' worth of passes each decoder layer has seen."""

    def __init__(self, model: Any) -> None:
        self.by_layer: dict[int, int] = {}
        for layer, block in enumerate(family_of(model).decoder_layers(model)):
            block.register_forward_hook(self._counter(layer))

    def _counter(self, layer: int) -> Any:
        def count(_module: nn.Module, _args: object, _output: object) -> None:
            self.by_layer[layer] = self.by_layer.get(layer, 0) + 1

        return count


def run_of(model: Any, ids: Tensor, settings: Settings, driver: Any = Resident) -> Run:
    return measure(model, ids, settings=settings, batch_size=1, driver=driver(model))


def same_sums(run: Run, expected: Run) -> None:
    assert len(run["heads"])
    pd.testing.assert_frame_equal(run["heads"], expected["heads"], rtol=1e-5, atol=1e-7)


def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass takes the sums at its own sinks and at those of passes before it, as where nothing announces late ones."""

    def follow(self: Recorder, layer: int, _batch: MicroBatch, calls: list[AttentionCall], covered: list[Any]) -> None:
        self.heads[layer].follow(calls, covered)

    monkeypatch.setattr(Recorder, "_cover_others", follow)


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("suspicious", [True, False])
def test_the_sums_are_those_of_all_columns(
    driver: Any, suspicious: bool, backward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = sinking("llama_gqa", sharpness=30.0), tokens(5, 64)
    expected = run_of(model, ids, Settings(sink_window=8, early=7, positions=16, columns="all", backward=backward))
    assert (expected["sinks"]["position"] > SETTINGS.early).any()
    if not suspicious:
        never(monkeypatch)
    settings = Settings(sink_window=8, early=7, positions=16, backward=backward)
    same_sums(run_of(model, ids, settings, driver), expected)


def test_one_sweep_is_enough_where_the_first_pass_shows_a_sign() -> None:
    model, ids = sinking("llama_gqa", sharpness=30.0), tokens(5, 64)
    calls = Calls(model)
    run = run_of(model, ids, SETTINGS)
    first = run["sinks"].query("position > 7 and sequence == 0")
    assert len(first)
    assert set(calls.by_layer.values()) == {len(ids)}


def test_a_second_sweep_runs_what_lacks_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    never(monkeypatch)
    model, ids = sinking("llama_gqa", sharpness=30.0), tokens(5, 64)
    late = run_of(model, ids, EVERY)["sinks"].query("position > 7").groupby(["layer", "position"])["sequence"].min()
    layers = len(family_of(model).decoder_layers(model))
    calls = Calls(model)
    run_of(model, ids, SETTINGS)
    deepest = [-1] * len(ids)  # by pass, the last layer with a sink that only a later pass finds
    for (layer, _), sequence in late.items():
        for number in range(sequence):
            deepest[number] = max(deepest[number], layer)
    assert deepest[-1] == -1  # the last pass knows them all
    again = {layer: sum(last >= layer for last in deepest) for layer in range(layers)}
    assert sum(again.values())
    assert calls.by_layer == {layer: len(ids) + more for layer, more in again.items()}


def test_a_model_without_late_sinks_pays_for_no_other_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_statistics, "every_column", lambda *_: pytest.fail("columns that nobody asks for"))
    model, ids = sinking("llama_gqa", sharpness=0.01), tokens(4, 64)
    run = run_of(model, ids, SETTINGS)
    assert not (run["sinks"]["position"] > SETTINGS.early).any()


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_is_taken_for_a_single_pass(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_statistics, "every_column", lambda *_: pytest.fail("columns that nobody asks for"))
    model = sinking("llama_gqa", sharpness=30.0)
    run = run_of(model, tokens(1, 64), SETTINGS, driver)
    assert (run["sinks"]["position"] > SETTINGS.early).any()
    assert not run["heads"]["mass"].isna().any()


def test_a_scope_of_several_passes_knows_the_sinks_of_those_before() -> None:
    model, ids = sinking("llama_gqa", sharpness=30.0), tokens(3, 64)
    expected = run_of(model, ids, EVERY)["heads"].set_index(["layer", "head", "position"])
    with torch.no_grad(), Scope(model, Settings(sink_window=8, early=7, positions=16, backward=False)) as scope:
        for window in ids:
            model(input_ids=window[None], use_cache=False)
    run = scope.run()
    heads = run["heads"].set_index(["layer", "head", "position"])
    first = run["sinks"].groupby(["layer", "position"])["sequence"].min()
    known = [key for key in heads.index if key[2] <= 7 or first[key[0], key[2]] == 0]
    unknown = [key for key in heads.index if key not in set(known)]
    assert any(key[2] > 7 for key in known)
    assert len(unknown)
    assert heads.loc[unknown, "mass"].isna().all()
    pd.testing.assert_frame_equal(heads.loc[known], expected.loc[known], rtol=1e-5, atol=1e-7)


def test_a_stored_state_keeps_what_was_expected(tmp_path: Path) -> None:
    model, ids = sinking("llama_gqa", sharpness=30.0), tokens(2, 64)
    scope = Scope(model, SETTINGS)
    scope.recorder.sequences = 3
    with scope:
        for window in ids:
            model(input_ids=window[None], labels=window[None], use_cache=False).loss.backward()
    torch.save(scope.recorder.state(), tmp_path / "state.pt")
    with reading():
        state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(heads.filled == [0, 1] for heads in state["heads"].values())
    assert any(heads.suspected for heads in state["heads"].values())
