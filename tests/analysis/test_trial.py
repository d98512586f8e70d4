"""What passes take is measured on a part of the model, which is whole again afterwards."""

from pathlib import Path

import pytest
import tiny
import torch
from reference.models import FAMILIES, tokens
from reference.models import tiny as of_family

from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.measure import measure
from sinkscope.analysis.trial import TABLES, Trial
from sinkscope.capture.settings import Settings
from sinkscope.loading.load import load_model
from sinkscope.models.families import family_of
from sinkscope.models.first_layers import first_layers, sample_size

SETTINGS = Settings(early=15, positions=32)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_architecture_and_driver_can_be_tried(name: str) -> None:
    model, ids = of_family(name), tokens(2, 40)
    settings = Settings(early=15, positions=32)
    before = measure(model, ids, settings=settings, batch_size=2)
    layers = family_of(model).decoder_layers(model)
    for driver in (Resident(model), LayerByLayer(model)):
        trial = Trial(model, driver, settings, ids)
        stages = trial.seconds(6, 40)
        assert set(stages) == {"pass", TABLES}
        assert all(seconds > 0 for seconds in stages.values())
        assert trial.spent > 0
        assert family_of(model).decoder_layers(model) == layers
    after = measure(model, ids, settings=settings, batch_size=2)
    for table, frame in before.tables.items():
        assert frame.equals(after.tables[table]), table


def test_a_forward_pass_alone_can_be_tried() -> None:
    model = tiny.build("llama_gqa")
    for driver in (Resident(model), LayerByLayer(model)):
        times = Trial(model, driver, Settings(early=15, positions=32, backward=False), tokens(1, 48)).at(48)
        assert times.body > 0
        assert times.head > 0
        assert times.reading == 0


def test_a_streamed_model_can_be_tried(tiny_folders: dict[str, Path]) -> None:
    loaded = load_model(str(tiny_folders["llama_gqa"]), stream=True, device="cpu")
    trial = Trial(loaded.model, LayerByLayer(loaded.model, loaded.weights), SETTINGS, tokens(1, 48))
    times = trial.at(48)
    assert times.reading > 0
    assert times.body > 0


def test_a_length_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.build("llama_gqa")
    trial = Trial(model, Resident(model), SETTINGS, tokens(1, 48))
    first = trial.at(32)
    monkeypatch.setattr(Trial, "_measure", lambda *_: pytest.fail("measured again"))
    assert trial.at(32) is first


def test_time_grows_with_batches_and_is_shared_by_processes() -> None:
    model = tiny.build("llama_gqa")
    trial = Trial(model, Resident(model), SETTINGS, tokens(2, 48))
    one, eight = trial.seconds(2, 48), trial.seconds(8, 48)
    assert eight["pass"] == pytest.approx(4 * one["pass"])
    assert trial.seconds(8, 48, processes=4) == pytest.approx(one)


def test_a_trial_leaves_the_random_state_alone() -> None:
    model = tiny.build("llama_gqa")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Trial(model, Resident(model), SETTINGS, tokens(1, 48)).at(48)
    assert torch.equal(torch.rand(3), expected)


def test_the_sample_has_a_layer_of_each_kind() -> None:
    assert sample_size(tiny.build("llama_gqa")) == 1
    model = tiny.build("llama_gqa", num_hidden_layers=4)
    model.config.layer_types = ["sliding_attention", "sliding_attention", "full_attention", "full_attention"]
    assert sample_size(model) == 3


def test_a_model_is_whole_again_after_an_error() -> None:
    model = tiny.build("llama_gqa")
    layers = family_of(model).decoder_layers(model)

    def fail() -> None:
        with first_layers(model, 1):
            assert len(family_of(model).decoder_layers(model)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert family_of(model).decoder_layers(model) == layers
