"""The training loop, one for pretraining and finetuning.

Everything that changes from step to step is a pure function of the settings and the step: which windows form a batch,
the learning rate, how far a V-scale warm-up is. A run can therefore stop anywhere and go on from its last checkpoint to
the same result. The loss of a step is the mean over all targets of the global batch, whatever processes and
micro-batches it was cut into.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from sinkscope.errors import SinkscopeError
from sinkscope.monitoring.monitor import PROBE_SEQUENCES, Monitor
from sinkscope.passes.losses import cross_entropy, next_token_loss
from sinkscope.progress.display import counted, say
from sinkscope.training.checkpoint import Rows, Saver, save_checkpoint
from sinkscope.training.corpus import Corpus, batch_indices
from sinkscope.training.engine import Engine, averaged, shares
from sinkscope.training.plan import STEP, plan_training
from sinkscope.training.recipe import CheckpointConfig, OptimizerConfig, ScheduleConfig
from sinkscope.training.schedule import rate_factor
from sinkscope.training.step_metrics import in_words, is_spike, write_metrics
from sinkscope.training.training_folder import CHECKPOINTS, METRICS


class TrainingSettings(Protocol):
    """What the loop needs to know of a recipe or of the settings of a finetuning."""

    @property
    def optimizer(self) -> OptimizerConfig:
        """The optimizer and the batch."""
        ...

    @property
    def schedule(self) -> ScheduleConfig:
        """Steps and learning rate."""
        ...

    @property
    def checkpoint(self) -> CheckpointConfig:
        """What is saved and measured on the way."""
        ...

    @property
    def seed(self) -> int:
        """Of the order of the data."""
        ...

    @property
    def monitor(self) -> int:
        """Steps between measurements of the headline metrics; 0 makes none."""
        ...

    @property
    def compile(self) -> bool:
        """Whether steps are compiled."""
        ...


def train(
    settings: TrainingSettings,
    engine: Engine,
    corpus: Corpus,
    out: Path,
    *,
    rows: Rows,
    saver: Saver,
    before_step: Callable[[int], None] | None = None,
    trainings: int = 1,
    unit: str = STEP,
) -> Rows:
    """Trains to the last step of the settings.

    Args:
        settings: how.
        engine: the model and its optimizer, in the state after `len(rows)` steps.
        corpus: what on.
        out: gets `checkpoints/` and `metrics.parquet`.
        rows: metrics of the steps done before.
        saver: writes the model into checkpoints.
        before_step: called with the number of each step before it is made.
        trainings: alike that are to come, this one included, for the plan, where none was said before.
        unit: what a step is called while it is made.

    Returns:
        One row of metrics per step: step, loss, lr, grad_norm, clipped, spike, where they were measured valid_loss and
        the numbers of the monitor, named sinkscope/...

    Raises:
        SinkscopeError: if the loss or the gradient stops being finite, after the state before that step was saved; if
            the batch cannot be split.
    """
    accelerator = engine.accelerator
    share, micro = shares(settings.optimizer, accelerator.num_processes)
    parts = share // micro
    loss_of = compiled_loss(engine.model, settings.compile)
    engine.model.train()
    probe = corpus.valid[:PROBE_SEQUENCES]
    monitor = (
        Monitor(engine.bare, every=settings.monitor, input_ids=probe, batch_size=micro) if settings.monitor else None
    )
    if accelerator.is_main_process:
        print_line(f"training on {engine.in_words()}" + (f", from step {len(rows)}" if rows else ""))
    losses = [float(row["loss"]) for row in rows]
    start, clock = len(rows), time.perf_counter()

    def keep(done: int) -> Path:
        write_rows()
        return save_checkpoint(out / CHECKPOINTS, done, engine, rows, saver, keep=settings.checkpoint.keep)

    def write_rows() -> None:
        if accelerator.is_main_process and rows:
            write_metrics(rows, out / METRICS)

    plan_training(settings, engine, corpus, start, trainings=trainings)
    for step in counted(range(settings.schedule.steps), unit, start):
        if before_step is not None:
            before_step(step)
        rate = settings.optimizer.lr * rate_factor(step, settings.schedule)
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        which = batch_indices(step, settings.optimizer.batch_sequences, len(corpus.train), settings.seed)
        ids = corpus.train[which.view(-1, share)[accelerator.process_index]].to(accelerator.device)
        total = torch.zeros((), device=accelerator.device)
        for number, part in enumerate(ids.split(micro), start=1):
            with engine.accumulating(last=number == parts):
                loss = loss_of(part)
                accelerator.backward(loss)  # divides by the number of passes
            total += loss.detach() / parts
        value, norm = averaged(accelerator, total), engine.clip(settings.optimizer.clip)
        if not (math.isfinite(value) and math.isfinite(norm)):
            saved = keep(step)
            what = f"the loss is {value}" if not math.isfinite(value) else f"the gradient norm is {norm}"
            raise SinkscopeError(
                f"{what} at step {step}: the state before it is in {saved}; train again with a lower learning rate"
            )
        engine.optimizer.step()
        engine.optimizer.zero_grad()
        done = step + 1
        row = {
            "step": step,
            "loss": value,
            "lr": rate,
            "grad_norm": norm,
            "clipped": norm > settings.optimizer.clip,
            "spike": is_spike(value, losses),
        }
        losses.append(value)
        if done % settings.checkpoint.evaluate == 0 or done == settings.schedule.steps:
            row["valid_loss"] = validation_loss(engine, corpus.valid, micro)
            speed = (done - start) * ids.shape[1] * settings.optimizer.batch_sequences / (time.perf_counter() - clock)
            if accelerator.is_main_process:
                print_line(f"step {done}: valid loss {row['valid_loss']:.4f}, {speed:.0f} tokens/s")
        if monitor is not None:
            row |= monitor.step(done) or {}
        accelerator.log({key: number for key, number in row.items() if key != "step"}, step=step)
        rows.append(row)
        if done % settings.checkpoint.every == 0 and done < settings.schedule.steps:
            keep(done)
    write_rows()
    if accelerator.is_main_process:
        print_line(in_words(rows))
    return rows


def compiled_loss(model: nn.Module, compile_: bool) -> Callable[[Tensor], Tensor]:
    """From token ids [B, T] to the model's mean loss, compiled where asked for."""

    def loss_of(ids: Tensor) -> Tensor:
        return next_token_loss(model(input_ids=ids, use_cache=False).logits, ids)

    return torch.compile(loss_of, dynamic=False) if compile_ else loss_of


@torch.no_grad()
def validation_loss(engine: Engine, windows: Tensor, batch: int) -> float:
    """Mean next-token loss in nats over windows [N, T]. Every process must call this; each takes its share."""
    accelerator, model = engine.accelerator, engine.model
    training = model.training
    model.eval()
    # All processes make as many passes, since a sharded model needs all of them; windows that fill up count nothing.
    padded = -(-len(windows) // accelerator.num_processes) * accelerator.num_processes
    numbers = torch.arange(accelerator.process_index, padded, accelerator.num_processes)
    total = torch.zeros(2)
    for chosen in numbers.split(batch):
        ids = windows[chosen % len(windows)].to(accelerator.device)
        with engine.autocast():
            logits = model(input_ids=ids, use_cache=False).logits
        losses = cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:]).mean(1)
        counted = (chosen < len(windows)).float()
        total += torch.stack([(losses.cpu() * counted).sum(), counted.sum()])
    model.train(training)
    summed = cast("Tensor", accelerator.reduce(total.to(accelerator.device), "sum"))
    return float(summed[0] / summed[1])


def print_line(text: str) -> None:
    """A line about the course of a training, on stderr."""
    say(text)
