"""Training checkpoints, written beside their place and renamed: a checkpoint exists whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn


def save_checkpoint(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, notes: Any) -> Path:
    """Saves everything that the next step depends on.

    Data order and learning rate are functions of the step, and nothing in the loop draws random numbers after
    initialization, so weights, optimizer state and step are complete.

    Args:
        folder: where checkpoints live; the new one is `folder/step-XXXXXX`.
        step: optimizer steps done.
        model: the bare model.
        optimizer: its optimizer.
        notes: JSON-serializable state of the loop (its metric rows).

    Returns:
        The checkpoint's folder.
    """
    final = folder / f"step-{step:06d}"
    building = folder / f".building-{step:06d}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    save_model(model, str(building / "model.safetensors"))
    torch.save(optimizer.state_dict(), building / "optimizer.pt")
    (building / "state.json").write_text(json.dumps({"step": step, "notes": notes}))
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)
    return final


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below `folder`, or None."""
    found = sorted(path for path in folder.glob("step-*") if (path / "state.json").is_file())
    return found[-1] if found else None


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, Any]:
    """Puts a checkpoint's state into a model and its optimizer in place.

    Returns:
        The number of steps done, and the loop's notes.
    """
    load_model(model, str(path / "model.safetensors"))
    optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
    state = json.loads((path / "state.json").read_text())
    return state["step"], state["notes"]
