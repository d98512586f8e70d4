"""Fixtures for all tests: no network, and tiny models on disk."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

# Read when huggingface_hub is first imported, so it must be set before anything imports transformers.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import tiny


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model with its tokenizer for every key of `tiny.MODELS`; tests must not write into them."""
    root = tmp_path_factory.mktemp("models")
    return {name: tiny.save(tiny.build(name), root / name) for name in tiny.MODELS}


@pytest.fixture
def broken(tiny_folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of a tiny model's folder, which a test may then break."""

    def copy(name: str = "llama_gqa") -> Path:
        return Path(shutil.copytree(tiny_folders[name], tmp_path / "broken"))

    return copy
