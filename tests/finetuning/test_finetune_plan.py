"""What a finetuning has before it: all at first, and less once a part of it is on disk."""

from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from sinkscope.finetuning import plan as module
from sinkscope.finetuning.plan import STEPS, Ahead, ahead_of, plan_finetuning
from sinkscope.finetuning.settings import AFTER, CONTROL, Finetuning, LoraSettings, VScaleStart
from sinkscope.loading.load import load
from sinkscope.progress.display import shown
from sinkscope.training.checkpoint import _STATE
from sinkscope.training.plan import STEP
from sinkscope.training.recipe import CheckpointConfig, DataConfig, OptimizerConfig, ScheduleConfig


def finetuning(**changes: Any) -> Finetuning:
    chosen: dict[str, Any] = {
        "model": "demo",
        "data": DataConfig(source="stdlib", tokens=16, bos="auto", holdout=4, valid_sequences=4),
        "optimizer": OptimizerConfig(lr=1e-3, batch_sequences=2),
        "schedule": ScheduleConfig(steps=6, warmup=1),
        "checkpoint": CheckpointConfig(every=2, evaluate=3),
        "vscale": VScaleStart(),
    }
    return Finetuning(**{**chosen, **changes})


def test_everything_is_ahead_at_first(tmp_path: Path) -> None:
    ahead = ahead_of(finetuning(), tmp_path, set(), control=True, analyzed=32)
    assert ahead == Ahead(
        starts={AFTER: 0, CONTROL: 0}, steps=6, moments=("before", "attached", "after", "control"), calibrated=True,
        analyses=3, windows=4,
    )  # fmt: skip
    assert ahead.in_words(finetuning()) == "2 trainings of 6 steps of 2 x 16 tokens and 3 analyses of 4 sequences"


def test_what_is_on_disk_is_not_made_again(tmp_path: Path) -> None:
    settings = finetuning()
    (tmp_path / "model").mkdir()
    checkpoint = tmp_path / CONTROL / "checkpoints" / "step-000004"
    checkpoint.mkdir(parents=True)
    (checkpoint / _STATE).touch()
    (tmp_path / "analysis" / "before").mkdir(parents=True)
    ahead = ahead_of(settings, tmp_path, {"before", "attached", "after"}, control=True, analyzed=32)
    assert ahead == Ahead({CONTROL: 4}, 6, ("control",), calibrated=False, analyses=2, windows=4)
    assert ahead.in_words(settings) == "2 steps of 2 x 16 tokens and 2 analyses of 4 sequences"


def test_without_v_scale_and_a_report(tmp_path: Path) -> None:
    ahead = ahead_of(finetuning(vscale=None), tmp_path, set(), control=False, analyzed=0)
    assert ahead == Ahead({AFTER: 0}, 6, ("before", "after"), calibrated=False, analyses=0, windows=0)
    assert ahead.in_words(finetuning()) == "6 steps of 2 x 16 tokens"


@pytest.mark.parametrize("train", ["all", "lora", "theta"])
def test_time_is_counted_in_passes(train: str, tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a count by hand, with passes of a known length; the model is left as it was."""
    settings = finetuning(train=train, lora=LoraSettings(rank=2, alpha=4) if train == "lora" else None)
    model = load(str(tiny_folders["llama_gqa"]))
    grads = [parameter.requires_grad for parameter in model.parameters()]
    said: dict[str, float] = {}
    took: list[bool] = []

    def seconds(_engine: Any, _ids: Any, _tokens: int, *, backward: bool = True) -> float:
        took.append(backward)
        assert any(p.requires_grad for p in model.parameters()) == (train == "all")
        return 6.0

    monkeypatch.setattr(module, "seconds_of_pass", seconds)
    monkeypatch.setattr(module, "say_plan", lambda _line, expected: said.update(expected))
    with shown(progress=True):
        ahead = Ahead({AFTER: 0, CONTROL: 4}, 6, ("before", "control"), calibrated=True, analyses=0, windows=0)
        plan_finetuning(settings, model, Accelerator(cpu=True), ahead, loading=7.0)
    forward = 2.0 if train == "all" else 3.0  # a third, or half where weights have no gradient
    validating = 4 / 2 * forward
    assert said == {
        "held-out loss before": validating,
        "held-out loss after training the control": validating,
        "calibrating": 32 / 2 * forward,
        STEP: 6 * 6.0 + 2 * validating,
        STEPS[CONTROL]: 2 * 6.0 + validating,
        "loading": 7.0,
    }
    assert took == [True]
    assert [parameter.requires_grad for parameter in model.parameters()] == grads
    assert not model.training


def test_a_pass_is_tried_on_frozen_weights(tiny_folders: dict[str, Path]) -> None:
    """Low-rank layers and theta need gradients to flow through weights that have none; nothing of it stays."""
    model = load(str(tiny_folders["llama_gqa"]))
    ahead = Ahead({AFTER: 0}, 6, ("before",), calibrated=False, analyses=1, windows=2)
    for train in ("theta", "all"):
        with shown(progress=True):
            plan_finetuning(finetuning(train=train), model, Accelerator(cpu=True), ahead, loading=0.0)
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
