"""The plan of a finetuning, said before its text is read: trainings, held-out losses, calibration, analyses, report.

Everything is tried on the model as it was loaded, before V-scale or low-rank layers are put on, since what comes before
the first step can be long, too. The passes are those of a training (`training.plan`) and of an analysis
(`analysis.trial`). What an earlier run has left is not counted again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from transformers import PreTrainedModel

from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.trial import Trial
from sinkscope.capture.settings import Settings
from sinkscope.finetuning.settings import AFTER, BEFORE, CONTROL, Finetuning
from sinkscope.finetuning.start import CALIBRATION_WINDOWS
from sinkscope.passes.modes import embedding, frozen
from sinkscope.passes.trial import now, some_ids
from sinkscope.planning.forecast import DRAWING, Forecast
from sinkscope.progress.display import say_plan, stage, wants_plan
from sinkscope.training.checkpoint import checkpoints
from sinkscope.training.engine import Engine, averaged, shares, will_be_sharded
from sinkscope.training.plan import STEP, memory_of_training, passes_of_training, say_untold, seconds_of_pass
from sinkscope.training.training_folder import CHECKPOINTS, MODEL
from sinkscope.vscale.attach import attention_modules, kv_heads

MOMENTS = {
    "before": "before",
    "attached": "right after attaching V-scale",
    "after": "after training",
    "control": "after training the control",
}
STEPS = {AFTER: STEP, CONTROL: "step of the control"}
"""What the steps of each training are called while they are made."""
_CALIBRATING = "calibrating"
_RECOMPUTED = 4 / 3  # of a pass: with `gradient_checkpointing` the forward pass is made twice


@dataclass(frozen=True)
class Ahead:
    """What a finetuning has before it.

    Attributes:
        starts: steps that are done of each training that is not finished, by its name.
        steps: all that each has.
        moments: of held-out losses that are to be measured.
        calibrated: whether C is read off the model.
        analyses: how many models are analyzed.
        windows: of each.
    """

    starts: dict[str, int]
    steps: int
    moments: tuple[str, ...]
    calibrated: bool
    analyses: int
    windows: int

    def in_words(self, settings: Finetuning) -> str:
        """The work in words."""
        batch = f"{settings.optimizer.batch_sequences} x {settings.data.tokens} tokens"
        left = [self.steps - start for start in self.starts.values()]
        parts = []
        if len(left) > 1 and len(set(left)) == 1:
            parts.append(f"{len(left)} trainings of {left[0]} steps of {batch}")
        elif left:
            parts.append(f"{sum(left)} steps of {batch}")
        if self.analyses:
            parts.append(f"{self.analyses} analys{'es' if self.analyses > 1 else 'is'} of {self.windows} sequences")
        return " and ".join(parts) or "the report"


def ahead_of(settings: Finetuning, out: Path, known: set[str], *, control: bool, analyzed: int) -> Ahead:
    """What is left to do.

    Args:
        settings: what was asked for.
        out: the folder of the finetuning.
        known: moments whose held-out losses are known.
        control: whether a control is trained too.
        analyzed: windows of each model that are analyzed.
    """
    places = {AFTER: out, CONTROL: out / CONTROL} if control else {AFTER: out}
    left = {name: place for name, place in places.items() if not (place / MODEL).is_dir()}
    moments = [*places, *(["before"] if left else [])]
    if settings.vscale is not None and AFTER in left:
        moments.append("attached")
    analyses = [name for name in (BEFORE, *places) if not (out / "analysis" / name).is_dir()] if analyzed else []
    return Ahead(
        starts={name: _steps_done(place) for name, place in left.items()},
        steps=settings.schedule.steps,
        moments=tuple(name for name in MOMENTS if name in moments and name not in known),
        calibrated=settings.vscale is not None and settings.vscale.init == "calibrated" and AFTER in left,
        analyses=len(analyses),
        windows=min(analyzed, settings.data.valid_sequences),
    )


def plan_finetuning(
    settings: Finetuning, model: PreTrainedModel, accelerator: Accelerator, ahead: Ahead, loading: float
) -> None:
    """Says how long a finetuning will take, where stages are shown. Every process must call this.

    Args:
        settings: with the length of its windows.
        model: the model that is trained on, as it was loaded.
        accelerator: accelerate's.
        ahead: what is to be done.
        loading: seconds that loading the model took.
    """
    if averaged(accelerator, torch.tensor(float(wants_plan()), device=accelerator.device)) == 0:
        return
    stage("planning")
    engine = Engine(accelerator, model, None)
    work = ahead.in_words(settings)
    if accelerator.distributed_type is DistributedType.DEEPSPEED:  # its engine counts every backward pass as a step's
        say_untold(engine, work)
        return
    share, micro = shares(settings.optimizer, accelerator.num_processes)
    tokens, valid = settings.data.tokens, settings.data.valid_sequences / accelerator.num_processes
    started = now()
    ids = some_ids(model, micro, tokens)
    forward, once = _seconds(settings, engine, ids)
    expected = {f"held-out loss {MOMENTS[moment]}": valid / micro * forward for moment in ahead.moments}
    if ahead.calibrated:
        expected[_CALIBRATING] = CALIBRATION_WINDOWS / micro * forward
    for name, start in ahead.starts.items():
        passes, validated = passes_of_training(settings, share, micro, 0, start), _validations(settings, start)
        expected[STEPS[name]] = passes * once + validated * valid / micro * forward
    expected["loading"] = loading * (ahead.analyses + max(len(ahead.starts) - 1, 0))
    if ahead.analyses:
        expected |= _of_analyses(model, ids[:1], ahead)
    trained = _trained(settings, model)
    forecast = Forecast(
        work=work, expected=expected, trial=now() - started, rate=micro * tokens * accelerator.num_processes / once,
        driver=engine.in_words(), memory=memory_of_training(model, trained, accelerator.device),
    )  # fmt: skip
    say_plan(forecast.line(), expected)


def _seconds(settings: Finetuning, engine: Engine, ids: torch.Tensor) -> tuple[float, float]:
    """Seconds of a micro-batch forward, and of one forward and back with the gradients of what is trained."""
    model, tokens = engine.bare, ids.shape[1]
    if settings.train == "all" and not will_be_sharded(engine.accelerator):
        once = seconds_of_pass(engine, ids, tokens)
        forward = once / 3
    elif settings.train == "all":  # whole gradients may not fit here: their pass takes twice the forward one
        with frozen(model):
            forward = seconds_of_pass(engine, ids, tokens, backward=False)
        once = 3 * forward
    else:
        with frozen(model), _gradient_of_embeddings(model):
            once = seconds_of_pass(engine, ids, tokens)
        forward = once / 2
    return forward, once * (_RECOMPUTED if settings.gradient_checkpointing else 1)


def _validations(settings: Finetuning, start: int) -> int:
    """How often a training measures its held-out loss from a step on."""
    every = settings.checkpoint.evaluate
    return -(-settings.schedule.steps // every) - start // every


def _of_analyses(model: PreTrainedModel, ids: torch.Tensor, ahead: Ahead) -> dict[str, float]:
    """Seconds by stage of the analyses, each with a report of its own, and of the report on all of them."""
    from sinkscope.report.trial import seconds_to_draw  # loads matplotlib

    of_one = Trial(model, Resident(model), Settings(), ids).seconds(ahead.windows, ids.shape[1])
    stages = {name: ahead.analyses * seconds for name, seconds in of_one.items()}
    return {**stages, DRAWING: ahead.analyses * seconds_to_draw("analysis") + seconds_to_draw("comparison")}


@contextmanager
def _gradient_of_embeddings(model: PreTrainedModel) -> Iterator[None]:
    """While entered, gradients flow back through all layers of a model whose weights have none."""
    handle = embedding(model).register_forward_hook(lambda _module, _inputs, output: output.requires_grad_())
    try:
        yield
    finally:
        handle.remove()


def _trained(settings: Finetuning, model: PreTrainedModel) -> int:
    """How many numbers are trained."""
    if settings.train == "all":
        return sum(parameter.numel() for parameter in model.parameters())
    if settings.lora is not None:
        head = model.get_output_embeddings()
        linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
        return sum(settings.lora.rank * (module.in_features + module.out_features) for module in linear)
    return kv_heads(model) * len(attention_modules(model))


def _steps_done(place: Path) -> int:
    """Steps of the newest checkpoint of a training."""
    complete = checkpoints(place / CHECKPOINTS)
    return int(complete[-1].name.rpartition("-")[2]) if complete else 0
