"""Checkpoints of a tiny training run, as transformers' Trainer or a training of sinkscope leaves them."""

from pathlib import Path

import tiny
import torch
from transformers import PreTrainedModel

from sinkscope.vscale import attach_, attached, save

STEPS = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
SMALL = ["--sequences", "4", "--tokens", "32", "--positions", "32", "--early", "15", "--device", "cpu"]


def trained(root: Path, *, layout: str = "checkpoint-{step}", vscale: bool = False, steps: list[int] = STEPS) -> Path:
    """Trains on one batch and saves a checkpoint at each of `steps`; `layout` ends in `/model` for our own form."""
    made: PreTrainedModel = tiny.build("llama_gqa", initializer_range=0.1)
    if vscale:
        attach_(made)
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    ids = torch.randint(2, 250, (4, 32), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = 0
    for step in range(max(steps) + 1):
        if step in steps:
            folder = root / layout.format(step=step)
            if vscale:
                save(made, folder)
                tiny.tokenizer().save_pretrained(folder)
            else:
                tiny.save(made, folder)
        made(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not vscale or len({float(valve.theta.detach().mean()) for valve in attached(made)}) > 1
    return root
