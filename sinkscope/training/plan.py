"""The plan of a training: what its steps take, from passes of a micro-batch that is cut shorter than the real ones.

Forward and backward of a quarter and of an eighth of the tokens give what a token and what a pass takes; gradients are
thrown away and the random state is put back, so that the training is the same with a plan and without. What the
optimizer's own arithmetic takes is not in it.
"""

from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn

from sinkscope.passes.losses import next_token_loss
from sinkscope.passes.trial import now
from sinkscope.planning.forecast import Forecast
from sinkscope.planning.machine import this_machine
from sinkscope.progress.display import say_plan, stage, wants_plan
from sinkscope.training.corpus import Corpus
from sinkscope.training.engine import Engine, averaged, shares

STEP = "step"  # the stage
_FORWARD = 1 / 3  # of a pass forward and back with gradients of the weights: what validating takes
_SHORTEST = 8  # tokens


def plan_training(settings: Any, engine: Engine, corpus: Corpus, start: int, *, trainings: int = 1) -> None:
    """Says how long a training will take, where stages are shown. Every process must call this.

    Args:
        settings: `loop.TrainingSettings`.
        engine: the model and its optimizer, before the first step.
        corpus: what it trains on.
        start: steps that are done.
        trainings: alike that are to come, this one included.
    """
    accelerator = engine.accelerator
    shown = torch.tensor(float(wants_plan()), device=accelerator.device)
    steps = settings.schedule.steps - start
    if averaged(accelerator, shown) == 0 or steps <= 0:
        return
    share, micro = shares(settings.optimizer, accelerator.num_processes)
    windows = corpus.train[torch.arange(min(micro, len(corpus.train)))]
    tokens = windows.shape[1]
    work = f"{steps} steps of {settings.optimizer.batch_sequences} x {tokens} tokens"
    work = work if trainings == 1 else f"{trainings} trainings of {work}"
    if accelerator.distributed_type is DistributedType.DEEPSPEED:  # its engine counts every backward pass as a step's
        say_untold(engine, work)
        return
    stage("planning")
    started = now()
    once = seconds_of_pass(engine, windows, tokens)
    trial = now() - started
    valid = len(corpus.valid) / accelerator.num_processes
    expected = {STEP: trainings * passes_of_training(settings, share, micro, valid, start) * once}
    trained = sum(p.numel() for p in engine.model.parameters() if p.requires_grad)
    forecast = Forecast(
        work=work, expected=expected, trial=trial, rate=micro * tokens * accelerator.num_processes / once,
        driver=engine.in_words(), memory=memory_of_training(engine.model, trained, accelerator.device),
    )  # fmt: skip
    say_plan(forecast.line(), expected)


def say_untold(engine: Engine, work: str) -> None:
    """The plan of a training whose steps cannot be tried."""
    say_plan(f"plan: {engine.in_words()}; {work}; DeepSpeed's steps cannot be tried, so their time is not foretold", {})


def memory_of_training(model: nn.Module, trained: int, device: torch.device) -> tuple[int, int] | None:
    """Bytes that a training needs on a CPU, without activations, and bytes that were free before the model was loaded.

    Args:
        model: loaded.
        trained: how many numbers get a gradient and two moments.
        device: where it is trained; None is returned for another one than the CPU.
    """
    if device.type != "cpu":
        return None
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    free = this_machine().free_on(str(device))
    return (weights + 12 * trained, free + weights) if free else None


def passes_of_training(settings: Any, share: int, micro: int, valid: float, start: int = 0) -> float:
    """How many passes of a micro-batch, forward and back, the rest of a training takes.

    Args:
        settings: `loop.TrainingSettings`.
        share: windows of a batch that a process takes.
        micro: windows per pass.
        valid: held-out windows that a process takes, each time that it validates.
        start: steps that are done.
    """
    steps = settings.schedule.steps - start
    evaluations = -(-settings.schedule.steps // settings.checkpoint.evaluate) - start // settings.checkpoint.evaluate
    return float(steps * (share // micro) + evaluations * valid / micro * _FORWARD)


def seconds_of_pass(engine: Engine, ids: Tensor, tokens: int, *, backward: bool = True) -> float:
    """Seconds of a micro-batch forward and back, at the full length.

    Args:
        engine: the model; its optimizer is not touched.
        ids: the micro-batch.
        tokens: the full length.
        backward: off leaves a forward pass.
    """
    device = engine.accelerator.device
    short, longer = max(tokens // 8, _SHORTEST), max(tokens // 4, 2 * _SHORTEST)
    devices = [device] if device.type == "cuda" else []
    modes = [(module, module.training) for module in engine.model.modules()]
    engine.model.train()
    seconds = []
    with torch.random.fork_rng(devices=devices), torch.set_grad_enabled(backward):
        for length in (short, short, longer):  # the first pass loads kernels
            part = ids[:, : min(length, tokens)].to(device)
            started = now()
            with engine.autocast():
                loss = next_token_loss(engine.model(input_ids=part, use_cache=False).logits, part)
            if backward:
                loss.backward()
            seconds.append(now() - started)
    for parameter in engine.model.parameters():
        parameter.grad = None
    for module, training in modes:
        module.training = training
    _, first, second = seconds
    per_token = max(second - first, 0.0) / max(longer - short, 1)
    return second + per_token * max(tokens - longer, 0)
