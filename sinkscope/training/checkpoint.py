"""Training checkpoints: everything that the next step depends on, whole or not at all.

A checkpoint is a folder:

    step-000500/
      model/          the model as transformers saves it, with its V-scale and tokenizer: every verb can load it
      optimizer.pt    the optimizer's state, gathered from all processes
      random.pt       the random states of all processes
      metrics.parquet one row per step so far
      state.json      the step and the hashes of all files; written last

It is built beside its place and renamed, and what is read of it again is what was written, by the hashes. Data order
and learning rate are functions of the step, so nothing else is needed to go on. Parameters and optimizer state are
those of the whole model however it is spread over processes, so that a run can go on with another number of them.
DeepSpeed keeps the optimizer's state in pieces of its own; there a checkpoint is a model to look at, and resuming is
refused.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from sinkscope.errors import SinkscopeError
from sinkscope.files.beside import BUILDING, free_name, remove, remove_leftovers
from sinkscope.files.failures import check_room, explained_failures
from sinkscope.files.sealed import DamagedError, check_hashes, hashes, read_sealed, write_sealed
from sinkscope.files.whole import building_folder
from sinkscope.training.engine import Engine
from sinkscope.training.training_folder import CHECKPOINTS

Rows = list[dict[str, Any]]
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_STATE = "state.json"
_MOMENTS = 2  # of AdamW, each of the size of the weights


@dataclass(frozen=True)
class Saver:
    """How a model in training is written and read.

    Attributes:
        save: writes a folder from the gathered state.
        load_: reads it back into the model, in place.
        names: which entries of the state `save` needs; None for all.
    """

    save: Callable[[Path, dict[str, Tensor]], None]
    load_: Callable[[nn.Module, Path], None]
    names: frozenset[str] | None = None


def save_checkpoint(folder: Path, step: int, engine: Engine, rows: Rows, saver: Saver, *, keep: int) -> Path:
    """Saves a checkpoint. Every process must call this.

    Args:
        folder: where checkpoints live; the new one is `folder/step-XXXXXX`.
        step: optimizer steps done.
        engine: the model and its optimizer.
        rows: the metrics so far.
        saver: writes the model.
        keep: how many checkpoints stay, this one included; 0 keeps all.

    Returns:
        The checkpoint's folder.

    Raises:
        SinkscopeError: if the disk has no room for it.
    """
    final = folder / f"step-{step:06d}"
    state, optimizer, chance = gathered(engine, saver.names), _optimizer_state(engine), gather_object([_random_state()])
    if engine.accelerator.is_main_process:
        with explained_failures(final, "a checkpoint"):
            folder.mkdir(parents=True, exist_ok=True)
            check_checkpoint_room(folder, engine)
        with explained_failures(final, "a checkpoint"), building_folder(final) as building:
            saver.save(building / "model", state)
            torch.save(optimizer, building / "optimizer.pt")
            torch.save(chance, building / "random.pt")
            pd.DataFrame(rows, columns=None if rows else ["step"]).to_parquet(building / "metrics.parquet", index=False)
            write_sealed(building / _STATE, {"step": step, "files": hashes(building)})
        for old in checkpoints(folder)[:-keep] if keep else []:
            aside = free_name(old, BUILDING)
            old.rename(aside)  # so that what is half gone has no checkpoint's name
            remove(aside)
    engine.accelerator.wait_for_everyone()
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints below `folder`, oldest first."""
    found = (path for path in folder.glob("step-*") if (path / _STATE).is_file())
    return sorted(found, key=lambda path: (len(path.name), path.name))  # from step 1,000,000 on names grow longer


def take_up_(out: Path, model: nn.Module, saver: Saver, accelerator: Accelerator) -> tuple[Path | None, Rows]:
    """Puts the weights of the newest checkpoint into a model, in place, before it is spread over processes.

    Args:
        out: the folder of the training. What a process that was killed there while it wrote left is removed.
        model: gets the weights.
        saver: reads them.
        accelerator: only its main process removes anything.

    Returns:
        The checkpoint, for `load_state`, and the metrics up to it; None and no rows where there is none.

    Raises:
        DamagedError: if the newest checkpoint is not what was written.
    """
    if accelerator.is_main_process:
        for folder in (out, out / CHECKPOINTS):
            remove_leftovers(folder)
    complete = checkpoints(out / CHECKPOINTS)
    if not complete:
        return None, []
    if accelerator.is_main_process:
        _check(complete[-1])
    saver.load_(model, complete[-1] / "model")
    return complete[-1], load_rows(complete[-1])


def _check(checkpoint: Path) -> None:
    """Refuses a checkpoint that is not what was written.

    Raises:
        DamagedError: naming the file.
    """
    remedy = f"remove {checkpoint} to go on from the checkpoint before it, or from the start"
    state = read_sealed(checkpoint / _STATE, remedy)
    if state is None:
        raise DamagedError(checkpoint / _STATE, remedy)
    check_hashes(checkpoint, state["files"], remedy)


def load_rows(checkpoint: Path) -> Rows:
    """The metrics up to a checkpoint, a row per step."""
    rows = pd.read_parquet(checkpoint / "metrics.parquet").to_dict("records")
    return [{str(key): value for key, value in row.items() if not pd.isna(value)} for row in rows]


def load_state(checkpoint: Path, engine: Engine) -> None:
    """Puts a checkpoint's optimizer and random state into an engine whose model has the checkpoint's weights already.

    With another number of processes than the checkpoint was made by, each takes a fresh random state.

    Raises:
        SinkscopeError: if the optimizer's state belongs to another way of spreading the model.
    """
    if _by_deepspeed(engine):
        raise SinkscopeError(f"{checkpoint}: a run under DeepSpeed cannot be resumed: use FSDP2, or start anew")
    state = torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
    if state["whole"] != engine.sharded:
        was, now = ("sharded", "not") if state["whole"] else ("not sharded", "sharded")
        raise SinkscopeError(f"{checkpoint} was made with the model {was} and is resumed with it {now}: use the same")
    if engine.sharded:
        set_optimizer_state_dict(engine.model, _plain(engine), state["optimizer"], options=_WHOLE)
    else:
        _plain(engine).load_state_dict(state["optimizer"])
    chance = torch.load(checkpoint / "random.pt", map_location="cpu", weights_only=True)
    if len(chance) == engine.accelerator.num_processes:
        _set_random_state(chance[engine.accelerator.process_index])


def gathered(engine: Engine, names: frozenset[str] | None) -> dict[str, Tensor]:
    """The model's state on the CPU, from all processes; empty on all but the main one.

    Args:
        engine: the model.
        names: which entries; None for all.
    """
    state: dict[str, Tensor] = {}
    for name, value in engine.bare.state_dict().items():
        if names is not None and name not in names:
            continue
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if engine.accelerator.is_main_process:
            state[name] = whole.detach().cpu()
    return state


def check_checkpoint_room(folder: Path, engine: Engine) -> None:
    """Refuses to go on where a checkpoint would not fit.

    Raises:
        SinkscopeError: if it would not.
    """
    weights = sum(p.numel() * p.element_size() for p in engine.model.parameters())
    moments = _MOMENTS * sum(p.numel() * p.element_size() for p in engine.model.parameters() if p.requires_grad)
    remedy = "free some, or set checkpoint.every or checkpoint.keep so that fewer are kept"
    check_room(folder, weights + moments, "a checkpoint", remedy)


def _plain(engine: Engine) -> torch.optim.Optimizer:
    """Torch's own optimizer, out of accelerate's wrapper."""
    optimizer: torch.optim.Optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    return optimizer


def _by_deepspeed(engine: Engine) -> bool:
    return bool(engine.accelerator.distributed_type is DistributedType.DEEPSPEED)


def _optimizer_state(engine: Engine) -> dict[str, Any]:
    if _by_deepspeed(engine):  # which keeps it in pieces of its own format
        return {"whole": False, "optimizer": None}
    whole = engine.sharded
    plain = _plain(engine)
    state = get_optimizer_state_dict(engine.model, plain, options=_WHOLE) if whole else plain.state_dict()
    return {"whole": whole, "optimizer": state}


def _random_state() -> dict[str, Any]:
    # The global generator is the one that libraries use.
    name, keys, *rest = cast("tuple[Any, ...]", np.random.get_state(legacy=True))  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
