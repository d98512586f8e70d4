"""The pretraining loop.

Everything that changes from step to step is a pure function of (recipe, step): which windows form a batch, and the
learning rate. That makes a run restartable from weights and optimizer state alone.
"""

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from sinkscope.config import OptimizerConfig, Recipe
from sinkscope.errors import SinkscopeError
from sinkscope.text.packing import Packed, pack
from sinkscope.text.sources import open_documents
from sinkscope.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from sinkscope.training.schedule import rate_factor
from sinkscope.training.tokenizer import train_tokenizer
from sinkscope.vscale import attach_, attached, save


@dataclass(frozen=True)
class Corpus:
    """Windows to train and to validate on, and the tokenizer that made them."""

    tokenizer: PreTrainedTokenizerBase
    train: Packed
    valid: Packed


def prepare_corpus(recipe: Recipe) -> Corpus:
    """Reads the documents, holds some out, trains the tokenizer on the rest and packs both parts."""
    documents = list(open_documents(recipe.data.source))
    train = [d for i, d in enumerate(documents) if i % recipe.data.holdout]
    valid = [d for i, d in enumerate(documents) if not i % recipe.data.holdout]
    tokenizer = train_tokenizer((d.text for d in train), recipe.tokenizer.vocab_size, recipe.data.tokens)
    packing: dict[str, Any] = {"tokens": recipe.data.tokens, "bos": recipe.data.bos == "always"}
    valid_windows = pack(valid, tokenizer, **packing, sequences=recipe.data.valid_sequences)
    return Corpus(tokenizer, pack(train, tokenizer, **packing), valid_windows)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A freshly initialized model of the recipe's shape."""
    config = LlamaConfig(
        **dataclasses.asdict(recipe.model),
        vocab_size=len(tokenizer),
        max_position_embeddings=recipe.data.tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation(recipe.attention)
    return model


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() >= 2]
    others = [p for p in trained if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def batch_indices(step: int, batch: int, windows: int, seed: int) -> Tensor:
    """Which windows form the batch of a step.

    Each epoch is a permutation drawn from (seed, epoch); batches run through the epochs without a gap.
    """
    positions = torch.arange(step * batch, (step + 1) * batch)
    epochs = positions // windows
    orders = {epoch: _epoch_order(epoch, windows, seed) for epoch in sorted(set(epochs.tolist()))}
    return torch.stack([orders[int(e)][p % windows] for e, p in zip(epochs, positions, strict=True)])


def _epoch_order(epoch: int, windows: int, seed: int) -> Tensor:
    return torch.randperm(windows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def next_token_loss(logits: Tensor, input_ids: Tensor) -> Tensor:
    """Mean next-token cross-entropy in nats, in float32."""
    return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), input_ids[:, 1:].flatten())


@torch.no_grad()
def validation_loss(model: nn.Module, windows: Tensor, batch: int, device: torch.device) -> float:
    """Mean next-token loss in nats over the held-out windows."""
    model.eval()
    total = 0.0
    for ids in windows.split(batch):
        ids = ids.to(device)
        total += float(next_token_loss(model(input_ids=ids).logits, ids)) * len(ids)
    model.train()
    return total / len(windows)


def pretrain(recipe: Recipe, out: Path, *, resume: bool = False) -> Path:
    """Trains a recipe from scratch.

    Args:
        recipe: the experiment.
        out: a folder that gets `model/`, `checkpoints/` and `metrics.parquet`.
        resume: continue from the newest checkpoint below `out`, or from step 0 where there is none.

    Returns:
        The folder of the finished model.

    Raises:
        SinkscopeError: if `out` holds a run and `resume` is off, if it holds a run of another recipe, or if the loss
            stops being finite.
    """
    note = out / "recipe.json"
    described = dataclasses.asdict(recipe)
    if note.exists():
        if not resume:
            raise SinkscopeError(f"{out} already holds a training run: choose another --out, or --resume", exit_code=2)
        _refuse_other_settings(json.loads(note.read_text()), described, out)
    elif out.exists() and any(out.iterdir()):
        raise SinkscopeError(f"{out} is not empty and holds no training run: choose another --out", exit_code=2)
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(described, indent=1))

    accelerator = Accelerator(mixed_precision="bf16" if recipe.precision == "bfloat16" else "no")
    corpus = prepare_corpus(recipe)
    set_seed(recipe.seed)
    bare = build_model(recipe, corpus.tokenizer)
    bare.train()
    if recipe.vscale.variant != "none":
        attach_(bare, variant=recipe.vscale.variant)
    optimizer = build_optimizer(bare, recipe.optimizer)
    rows: list[dict[str, float]] = []
    start = 0
    checkpoint = latest_checkpoint(out / "checkpoints")
    if checkpoint is not None:
        start, rows = load_checkpoint(checkpoint, bare, optimizer)
    model, optimizer = accelerator.prepare(bare, optimizer)

    steps, batch = recipe.schedule.steps, recipe.optimizer.batch_sequences

    def loss_of(ids: Tensor) -> Tensor:
        return next_token_loss(model(input_ids=ids, use_cache=False).logits, ids)

    if recipe.compile:
        loss_of = torch.compile(loss_of, dynamic=False)
    clock = time.perf_counter()
    for step in _progress(start, steps, accelerator):
        rate = recipe.optimizer.lr * rate_factor(step, recipe.schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = corpus.train.input_ids[batch_indices(step, batch, len(corpus.train.input_ids), recipe.seed)]
        ids = ids.to(accelerator.device)
        loss = loss_of(ids)
        if not torch.isfinite(loss):
            raise SinkscopeError(f"the loss is {float(loss)} at step {step}: lower optimizer.lr and --resume")
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(model.parameters(), recipe.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()
        row = {"step": step, "loss": loss.item(), "lr": rate, "grad_norm": norm.item()}
        done = step + 1
        if done % recipe.checkpoint.evaluate == 0 or done == steps:
            row["valid_loss"] = validation_loss(model, corpus.valid.input_ids, 4 * batch, accelerator.device)
            speed = (done - start) * batch * recipe.data.tokens / (time.perf_counter() - clock)
            accelerator.print(f"step {done}: valid loss {row['valid_loss']:.4f}, {speed:.0f} tokens/s")
        rows.append(row)
        if done % recipe.checkpoint.every == 0 and done < steps:
            save_checkpoint(out / "checkpoints", done, accelerator.unwrap_model(model), optimizer.optimizer, rows)
    target = out / "model"
    finished = accelerator.unwrap_model(model)
    if attached(finished):
        save(finished, target)
    else:
        finished.save_pretrained(target)
    corpus.tokenizer.save_pretrained(target)
    pd.DataFrame(rows).to_parquet(out / "metrics.parquet")
    return target


def _refuse_other_settings(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise SinkscopeError(f"{out} was trained with other settings in [{', '.join(changed)}]: resume with the same")


def _progress(start: int, steps: int, accelerator: Accelerator) -> Iterator[int]:
    with Progress(disable=not accelerator.is_main_process) as bar:
        yield from bar.track(range(start, steps), description="training", total=steps - start)
