"""What is wrong with the names in a request is said before torch is imported, by every verb that takes a model."""

import subprocess
import sys
from pathlib import Path

import pytest

import sinkscope

ROOT = str(Path(sinkscope.__file__).parents[1])
# With the packages themselves out of reach, a verb that imports one ends in a traceback instead of a line.
BLOCKED = """
import sys
for name in ("torch", "transformers", "accelerate", "matplotlib"):
    sys.modules[name] = None
from sinkscope.cli import main
raise SystemExit(main(sys.argv[1:]))
"""

FOLDER, FILE, EMPTY, DATA = "./no/such-model", "./no/such.gguf", "EMPTY", "no/such.txt"
NO_FOLDER, NO_FILE = f"there is no folder {FOLDER}", f"there is no file {FILE}"
NAME, NO_NAME = "mistyped-name", "HF_HUB_OFFLINE is set and mistyped-name is not in the local cache"
NO_CONFIG, NO_TEXT = "EMPTY is not a model folder: it has no config.json", f"there is no file or folder {DATA}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyze", FOLDER], NO_FOLDER),
        (["analyze", FILE], NO_FILE),
        (["analyze", EMPTY], NO_CONFIG),
        (["analyze", "demo", "--revision", "main"], "--revision is for models of the Hugging Face Hub"),
        (["analyze", "demo", "--data", DATA], NO_TEXT),
        (["analyze", "demo", "--sequences", "0"], "--sequences must be at least 1"),
        (["compare", FOLDER, "demo"], FOLDER),
        (["evaluate", FOLDER], NO_FOLDER),
        (["evaluate", EMPTY], NO_CONFIG),
        (["evaluate", "demo", "--data", DATA], NO_TEXT),
        (["finetune", FOLDER, "--out", "runs/new"], NO_FOLDER),
        (["finetune", EMPTY, "--out", "runs/new"], NO_CONFIG),
        (["finetune", "demo", "--data", DATA, "--out", "runs/new"], NO_TEXT),
        (["plan", FOLDER], NO_FOLDER),
        (["plan", EMPTY], NO_CONFIG),
        (["plan", "demo", "--sequences", "0"], "--sequences must be at least 1"),
        (["quantize", FOLDER, "--methods", "none", "--out", "runs/new"], NO_FOLDER),
        (["quantize", "demo", EMPTY, "--methods", "none", "--out", "runs/new"], NO_CONFIG),
        (["quantize", "demo", "--methods", "none", "--data", DATA, "--out", "runs/new"], NO_TEXT),
        (["quantize", "demo", "--methods", "none", "--sequences", "0", "--out", "runs/new"], "--sequences"),
        (["analyze", NAME], NO_NAME),
        (["compare", "demo", NAME], NO_NAME),
        (["evaluate", NAME], NO_NAME),
        (["finetune", NAME], NO_NAME),
        (["plan", NAME], NO_NAME),
        (["quantize", "demo", NAME, "--methods", "none", "--out", "runs/new"], NO_NAME),
        (["report", EMPTY], "EMPTY is not a run folder: it has no run.json"),
        (["track", NAME, "--revisions", "step*"], "the revisions of mistyped-name are on the Hub"),
        (["track", FOLDER], f"there is no folder {FOLDER} with checkpoints"),
        (["track", EMPTY], "EMPTY holds no checkpoints"),
        (["track", "RUNS", "--data", DATA], NO_TEXT),
        (["track", "RUNS", "--sequences", "0"], "--sequences must be at least 1"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_torch_is_not_needed_to_refuse(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "RUNS" / "step-1").mkdir(parents=True)
    command = [sys.executable, "-c", BLOCKED, *arguments]
    environment = {"PYTHONPATH": ROOT, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2), done.stderr
    assert done.stderr.startswith("sinkscope: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
