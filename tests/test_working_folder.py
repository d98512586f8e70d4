"""Nothing that lies in the working folder is executed, whatever it is called: it may be a downloaded model's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sinkscope.methods.library import virtual_environment

LIBRARIES = ["numpy", "torch", "transformers", "tokenizers", "safetensors", "pandas", "pyarrow", "matplotlib"]
LIBRARIES += ["typer", "click", "rich", "accelerate", "huggingface_hub", "filelock", "llmcompressor", "pip", "psutil"]
NAMES = sorted({*sys.stdlib_module_names, *LIBRARIES} - {"__main__"})
SCRIPT = "import sys\nfrom sinkscope.__main__ import main\nsys.exit(main())\n"  # as pip writes it


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder with a module of every name that somebody may import, each of which leaves a note where it runs."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + chr(10))\n")
    return folder


def run(folder: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_python_alone_would_run_them(planted: Path) -> None:
    """What is held off is real."""
    run(planted, sys.executable, "-c", "import csv")
    assert (planted.parent / "ran").is_file()


@pytest.mark.parametrize("options", [["-m"], ["-W", "ignore", "-um"]])
def test_the_module_does_not(planted: Path, options: list[str]) -> None:
    own = run(planted.parent, sys.executable, "-I", "-c", "import runpy, sys; print(*sys.modules)").stdout.split()
    for name in own:
        (planted / f"{name}.py").unlink(missing_ok=True)  # what Python itself imports for -m, before sinkscope
    assert (planted / "csv.py").exists()
    assert (planted / "logging.py").exists()
    done = run(planted, sys.executable, *options, "sinkscope", "analyze", "no-such-model", "--data", "./missing.txt")
    assert (done.returncode, (planted.parent / "ran").exists()) == (1, False), done.stderr


def test_nor_does_the_command(planted: Path) -> None:
    script = planted.parent / "bin" / "sinkscope"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    done = run(planted, sys.executable, script, "plan", "demo")
    assert (done.returncode, (planted.parent / "ran").exists()) == (0, False), done.stderr


def test_nor_do_the_interpreters_that_quantize_starts(
    planted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Asking an environment for its version, making one, and installing into it."""
    monkeypatch.chdir(planted)
    place = tmp_path / "environment"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(sys.executable)
    assert virtual_environment.installed(place) is None
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(virtual_environment, "REQUIREMENT", "llmcompressor==0.0.no-such-version")
    with pytest.raises(virtual_environment.SinkscopeError, match="could not be installed"):
        virtual_environment.prepare(tmp_path / "new")
    assert not (planted.parent / "ran").exists()
