"""The monitor inside a real Trainer of transformers: its numbers reach trackers, and training stays what it was."""

from pathlib import Path
from typing import Any

import pytest
import tiny
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from watched import IDS, STEPS, batches, model, same, weights

from sinkscope import Monitor, SinkscopeError
from sinkscope.quantities.rows import monitored

LOGGED = [row.name for row in monitored() if row.headline]


class Tracker(TrainerCallback):
    """What a tracker is to the Trainer: a callback that is told of logs."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, Any]]] = []

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any], **_: Any) -> None:
        self.told.append((state.global_step, dict(logs)))


def rows() -> list[dict[str, Tensor]]:
    return [{"input_ids": row, "labels": row} for batch in batches() for row in batch]


def trainer_of(trained: PreTrainedModel, folder: Path, **arguments: Any) -> tuple[Trainer, Tracker]:
    defaults = {
        "output_dir": str(folder),
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": 7,
    }
    tracker = Tracker()
    made = Trainer(trained, TrainingArguments(**(defaults | arguments)), train_dataset=rows(), callbacks=[tracker])
    return made, tracker


def trained_without(folder: Path, **arguments: Any) -> tuple[dict[str, Tensor], Tracker]:
    alone = model()
    trainer, tracker = trainer_of(alone, folder, **arguments)
    trainer.train()
    return weights(alone), tracker


@pytest.mark.parametrize("arguments", [{}, {"gradient_checkpointing": True}, {"bf16": True}, {"logging_steps": 3}])
def test_its_numbers_reach_the_trackers_and_training_stays_bit_identical(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    watched = model()
    trainer, tracker = trainer_of(watched, tmp_path, **arguments)
    monitor = Monitor(watched, input_ids=IDS, every=3)
    trainer.add_callback(monitor.callback(trainer))
    trainer.train()
    expected, alone = trained_without(tmp_path, **arguments)
    measured = [(step, logs) for step, logs in tracker.told if "sinkscope/loss" in logs]
    assert [step for step, _ in measured] == [0, 3, 6, STEPS]
    for step, logs in measured:
        assert {f"sinkscope/{name}" for name in LOGGED} <= set(logs)
        kept = next(entry for entry in monitor.history if entry["step"] == step)
        assert all(logs[name] == value for name, value in kept.items() if name != "step")
    own = [(step, logs["loss"]) for step, logs in tracker.told if "loss" in logs]
    assert own == [(step, logs["loss"]) for step, logs in alone.told if "loss" in logs]
    assert len(own) == STEPS // arguments.get("logging_steps", 1)
    assert any("sinkscope/loss" in entry for entry in trainer.state.log_history)
    assert same(weights(watched), expected)


def test_mixed_precision_does_not_change_what_is_measured(tmp_path: Path) -> None:
    watched = model()
    trainer, _ = trainer_of(watched, tmp_path, bf16=True, max_steps=1)
    monitor = Monitor(watched, input_ids=IDS, every=3)
    trainer.add_callback(monitor.callback(trainer))
    trainer.train()
    assert "_original_forward" in watched.__dict__  # accelerate's wrapper was there, or this test would show nothing
    bare = tiny.build("llama_gqa")
    bare.load_state_dict(weights(watched))
    assert Monitor(bare, input_ids=IDS).measure(1) == {
        name: value for name, value in monitor.history[-1].items() if name != "step"
    }


def test_another_model_than_the_trainers_is_refused(tmp_path: Path) -> None:
    trainer, _ = trainer_of(model(), tmp_path)
    trainer.add_callback(Monitor(model(), input_ids=IDS).callback(trainer))
    with pytest.raises(SinkscopeError, match="another model"):
        trainer.train()
