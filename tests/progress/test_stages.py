"""What is said of the stage that work is in, and of the time left, by a clock that the test moves."""

import pytest

from sinkscope.progress.stages import Stages


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stages(clock: Clock) -> Stages:
    return Stages(clock)


def test_nothing_is_said_before_a_stage(stages: Stages) -> None:
    assert stages.line() == ""
    assert stages.left() is None


def test_a_stage_takes_the_place_of_the_one_before(stages: Stages, clock: Clock) -> None:
    stages.begin("loading")
    clock.now += 7
    assert stages.line() == "loading"
    assert stages.elapsed() == 7
    stages.begin("planning")
    assert stages.line() == "planning"
    assert stages.elapsed() == 0


def test_time_left_follows_from_what_was_done(stages: Stages, clock: Clock) -> None:
    stage = stages.begin("sequence", 8)
    assert stages.line() == "sequence 1 of 8"
    clock.now += 20
    stage.done += 1
    assert stages.line() == "sequence 2 of 8, about 2.3 min left"
    clock.now += 20
    stage.done += 1
    assert stages.left() == 6 * 20


def test_what_an_earlier_run_did_took_no_time(stages: Stages, clock: Clock) -> None:
    stage = stages.begin("sequence", 10, done=8)
    clock.now += 5
    stage.done += 1
    assert stages.left() == 5


def test_items_that_are_half_done_count(stages: Stages, clock: Clock) -> None:
    outer = stages.begin("checkpoint", 4)
    stages.begin("loading")
    assert stages.line() == "checkpoint 1 of 4: loading"
    inner = stages.begin("sequence", 2)
    assert stages.line() == "checkpoint 1 of 4: sequence 1 of 2"
    clock.now += 10
    inner.done += 1
    assert stages.left() == pytest.approx(70)  # half of one of four took 10
    stages.end(inner)
    outer.done += 1
    clock.now += 10
    assert stages.line() == "checkpoint 2 of 4, about 1 min left"


def test_a_plan_says_what_is_still_to_come(stages: Stages, clock: Clock) -> None:
    stages.expect({"sequence": 40.0, "drawing page": 15.0})
    stages.begin("reading text")
    assert stages.left() == 55
    stage = stages.begin("sequence", 4)
    clock.now += 4
    assert stages.left() == 36 + 15  # nothing is done yet: the plan's own
    clock.now += 16
    stage.done += 1
    assert stages.left() == 3 * 20 + 15  # slower than planned
    stages.end(stage)
    page = stages.begin("drawing page", 3)
    clock.now += 2
    page.done += 1
    assert stages.left() == 4


def test_a_plan_that_is_overdue_is_not_held_to(stages: Stages, clock: Clock) -> None:
    stages.expect({"step": 10.0})
    stages.begin("saving")
    clock.now += 11
    assert stages.left() is None
    assert stages.line() == "saving"


def test_the_end_of_a_stage_ends_what_is_inside(stages: Stages) -> None:
    outer = stages.begin("checkpoint", 2)
    stages.begin("sequence", 3)
    stages.begin("making tables")
    stages.end(outer)
    assert stages.line() == ""
    stages.end(outer)  # once more changes nothing
