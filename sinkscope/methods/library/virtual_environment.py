"""An environment of its own for llm-compressor, which excludes the transformers that sinkscope needs.

It is a virtual environment that sees this one's packages behind its own, by a line in a .pth file. So pip installs into
it only what llm-compressor wants otherwise (an older transformers, its own code), and torch, with whatever build is in
use here, is shared and not downloaded again. Nothing is written to this environment.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from sinkscope.errors import SinkscopeError
from sinkscope.progress.display import say

REQUIREMENT = "llmcompressor==0.14.*"
VARIABLE = "SINKSCOPE_LLMCOMPRESSOR"
_LINK = "zz_sinkscope_parent.pth"


def location(chosen: Path | None) -> Path:
    """Where the environment is: as chosen, or named by the variable, or in the user's cache."""
    if chosen is not None:
        return chosen.expanduser().absolute()
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sinkscope" / "llmcompressor"


def python_of(folder: Path) -> Path:
    """The environment's interpreter."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def isolated(python: Path | str, *arguments: Path | str) -> list[Path | str]:
    """A command for an interpreter that imports from its environment alone.

    Without -I it would look into the working folder first, or into that of the script, and run a `csv.py` or `venv/`
    that lies there: the working folder may be a model's repository that was downloaded a moment ago.
    """
    return [python, "-I", *arguments]


def installed(folder: Path) -> str | None:
    """The version of llm-compressor in an environment; None where it is not (wholly) there."""
    if not python_of(folder).is_file():
        return None
    done = _run(python_of(folder), "-c", "from importlib.metadata import version; print(version('llmcompressor'))")
    return done.stdout.strip() or None if done.returncode == 0 else None


def check(allow_install: bool, chosen: Path | None) -> None:
    """Refuses to go on where the environment is missing and may not be made.

    Raises:
        SinkscopeError: with the commands that make it.
    """
    folder = location(chosen)
    if installed(folder) is not None or allow_install:
        return
    raise SinkscopeError(
        f"llm-compressor needs an environment of its own, and there is none in {folder}: add `allow_install` to have "
        f"it made, or make it with: {by_hand(folder)}"
    )


def by_hand(folder: Path) -> str:
    """The commands that make the environment without sinkscope."""
    return f"python -m venv {folder} && {python_of(folder)} -m pip install '{REQUIREMENT}'"


def prepare(chosen: Path | None) -> Path:
    """The environment's folder, made if it is missing, after saying so on stderr.

    Raises:
        SinkscopeError: if the place is taken, or pip fails; an environment that was begun is then removed.
    """
    folder = location(chosen)
    if installed(folder) is not None:
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise SinkscopeError(f"{folder} exists and is no environment with llm-compressor: name another `environment`")
    say(f"sinkscope: installing {REQUIREMENT} into its own environment {folder}; this happens once")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _call(folder, sys.executable, "-m", "venv", str(folder))
        _link_this_environment(folder)
        torch = f"torch=={metadata.version('torch').split('+')[0]}"
        _call(folder, python_of(folder), "-m", "pip", "install", "-q", "--no-input", REQUIREMENT, torch)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _link_this_environment(folder: Path) -> None:
    """Puts this environment's packages behind the new one's own."""
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    here = dict.fromkeys(sysconfig.get_path(key) for key in ("purelib", "platlib"))
    (own / _LINK).write_text("\n".join(here) + "\n", encoding="utf-8")


def _run(python: Path | str, *arguments: Path | str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(isolated(python, *arguments), capture_output=True, text=True, check=False)  # noqa: S603


def _call(folder: Path, python: Path | str, *arguments: Path | str) -> None:
    done = _run(python, *arguments)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no message"]
        raise SinkscopeError(f"llm-compressor could not be installed ({errors[-1]}); with network access, run: "
                             f"{by_hand(folder)}")  # fmt: skip
