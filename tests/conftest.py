"""Fixtures for all tests: no network, one thread, tiny models on disk, processes to fork, a training of a second."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

# Read when huggingface_hub is first imported, so it must be set before anything imports transformers.
os.environ["HF_HUB_OFFLINE"] = "1"
# Read when torch is first imported. The models are so small that threads only cost time, and each of pytest's workers
# would have as many as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import forks as forking
import pytest
import tiny

from sinkscope.report.kinds import KINDS
from sinkscope.training.recipe import Recipe, load_recipe

# What a shell starts in the background ignores Ctrl-C, and what `nohup` starts a hang-up; processes inherit that, and
# those that tests start are to be ended by both.
for ignored, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, handler)

# A training of a second.
SHORT = {
    "optimizer.lr": 1e-2,
    "schedule.steps": 12,
    "schedule.warmup": 2,
    "model.num_hidden_layers": 2,
    "checkpoint.every": 4,
    "checkpoint.evaluate": 6,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that hold slow tests come first, so that no worker is still at one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model with its tokenizer for every key of `tiny.MODELS`; tests must not write into them."""
    root = tmp_path_factory.mktemp("models")
    return {name: tiny.save(tiny.build(name), root / name) for name in tiny.MODELS}


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[forking.Server]:
    """Makes processes that have everything imported."""
    with forking.server(tmp_path_factory.mktemp("forks")) as server:
        yield server


@pytest.fixture(autouse=True)
def no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the lines that long work writes now and then: how long a test takes depends on the machine."""
    monkeypatch.setattr("sinkscope.progress.surfaces.HEARTBEAT", 1e6)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out figures and reports, which take far longer than measuring a tiny model."""
    monkeypatch.setattr("sinkscope.report.render.render", lambda *_: None)


@pytest.fixture
def one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves all pages but the first out of reports of analyses."""
    kind = KINDS["analysis"]
    monkeypatch.setitem(KINDS, "analysis", replace(kind, figures=kind.figures[:1]))


@pytest.fixture
def broken(tiny_folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of a tiny model's folder, which a test may then break."""

    def copy(name: str = "llama_gqa") -> Path:
        return Path(shutil.copytree(tiny_folders[name], tmp_path / "broken"))

    return copy


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"document {n} and {n * n} more words"}) for n in range(40)))
    return path


@pytest.fixture
def recipe_file(text: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(tiny.RECIPE.replace("SOURCE", str(text)))
    return path


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(recipe_file, SHORT)
