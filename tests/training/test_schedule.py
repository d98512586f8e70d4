"""The learning rate and the data order are what the recipe says, as pure functions of the step."""

import pytest
import torch

from sinkscope.training.corpus import batch_indices
from sinkscope.training.recipe import ScheduleConfig
from sinkscope.training.schedule import rate_factor

COSINE = ScheduleConfig(steps=100, kind="cosine", warmup=10, final=0.1)
LINEAR = ScheduleConfig(steps=100, kind="linear", warmup=10, decay=0.4, final=0.2)


@pytest.mark.parametrize("schedule", [COSINE, LINEAR])
def test_warms_up_in_a_straight_line(schedule: ScheduleConfig) -> None:
    assert [rate_factor(step, schedule) for step in range(10)] == pytest.approx([(s + 1) / 10 for s in range(10)])


def test_cosine_passes_its_midpoint_and_ends_at_the_final_rate() -> None:
    assert rate_factor(10, COSINE) == pytest.approx(1)
    assert rate_factor(55, COSINE) == pytest.approx(0.55)
    assert rate_factor(100, COSINE) == pytest.approx(0.1)


def test_linear_holds_the_rate_and_then_falls() -> None:
    assert [rate_factor(step, LINEAR) for step in (10, 59, 60)] == pytest.approx([1, 1, 1])
    assert rate_factor(80, LINEAR) == pytest.approx(0.6)
    assert rate_factor(100, LINEAR) == pytest.approx(0.2)


def test_an_epoch_shows_every_window_once_and_the_next_in_another_order() -> None:
    shown = torch.cat([batch_indices(step, 4, 10, seed=3) for step in range(5)])
    first, second = shown[:10], shown[10:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert batch_indices(1, 4, 10, seed=3).tolist() != batch_indices(1, 4, 10, seed=4).tolist()
