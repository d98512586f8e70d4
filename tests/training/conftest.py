"""A training of a second."""

import json
from pathlib import Path

import pytest
from tiny import RECIPE

from sinkscope.config import Recipe, load_recipe

SHORT = {
    "optimizer.lr": 1e-2,
    "schedule.steps": 12,
    "schedule.warmup": 2,
    "model.num_hidden_layers": 2,
    "checkpoint.every": 4,
    "checkpoint.evaluate": 6,
}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"document {n} and {n * n} more words"}) for n in range(40)))
    return path


@pytest.fixture
def recipe_file(text: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.replace("SOURCE", str(text)))
    return path


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(recipe_file, SHORT)
