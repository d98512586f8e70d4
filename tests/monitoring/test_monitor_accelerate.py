"""The monitor in an accelerate loop with a tracker of accelerate's."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process
from watched import IDS, adamw, batches, model, same, train, weights

from sinkscope import Monitor


class Kept(GeneralTracker):
    name = "kept"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, Any]]] = []

    @property
    def tracker(self) -> list[Any]:
        return self.rows

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        del values

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.rows.append((step, dict(values)))


def test_numbers_reach_an_accelerate_tracker_and_training_stays_bit_identical(tmp_path: Path) -> None:
    kept = Kept()
    accelerator = Accelerator(cpu=True, log_with=kept, project_dir=tmp_path)
    accelerator.init_trackers("run")
    watched = model()
    prepared, optimizer = accelerator.prepare(watched, adamw(watched))
    monitor = Monitor(prepared, input_ids=IDS, every=2, log=accelerator.log)
    train(prepared, optimizer, monitor.step)
    accelerator.end_training()
    assert [step for step, _ in kept.rows] == [2, 4, 6]
    assert all(values["sinkscope/sink_rate_mean"] >= 0 for _, values in kept.rows)
    alone = model()
    train(alone, adamw(alone))
    assert same(weights(watched), weights(alone))


def test_a_prepared_optimizer_can_be_followed() -> None:
    accelerator = Accelerator(cpu=True)
    watched = model()
    prepared, optimizer = accelerator.prepare(watched, adamw(watched))
    with Monitor(prepared, input_ids=IDS, every=2).following(optimizer) as monitor:
        for ids in batches(3):
            accelerator.backward(prepared(input_ids=ids, labels=ids, use_cache=False).loss)
            optimizer.step()
            optimizer.zero_grad()
    assert [entry["step"] for entry in monitor.history] == [0, 2, 3]
