"""What a model folder must hold before any of it is loaded.

transformers and safetensors report a missing shard, a cut file or a foreign architecture in different ways, some only
after minutes of reading. So everything that names and headers show is checked here first, with an error of one line.
"""

import glob
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sinkscope.documents.model_folder import Adapter, Config, GenerationConfig, Index
from sinkscope.documents.read import check, read, read_if_there, read_json
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inside import inside

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
GENERATION = "generation_config.json"
GGUF = ".gguf"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_VARIANT = re.compile(r"model\.[^.]+\.safetensors")
_UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".download", ".tmp")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")


def read_config(path: Path, name: str) -> dict[str, Any]:
    """Reads a model's config.json.

    Args:
        path: the file.
        name: the model as the user named it, for the message.

    Raises:
        SinkscopeError: if it is missing, unreadable, or not as `documents.model_folder` declares it.
    """
    if not path.exists():
        raise SinkscopeError(_no_config(path.parent, name))
    config: dict[str, Any] = read_json(path, f"{name}: {path.name}")
    check(config, Config, f"{name}: {path.name}")
    return config


def check_generation_config(folder: Path, name: str) -> None:
    """Refuses a generation_config.json that is none: nothing here depends on it, but transformers reads it.

    Args:
        folder: of the model.
        name: the model as the user named it.

    Raises:
        SinkscopeError: if it is there and not as `documents.model_folder` declares it.
    """
    read_if_there(folder / GENERATION, GenerationConfig, f"{name}: {GENERATION}")


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files that hold a local model's weights, sorted by name, each with a sound header.

    Raises:
        SinkscopeError: if there are none, only pickled ones, a shard is missing, or a file is cut short.
    """
    if (folder / WEIGHTS).is_file():
        files = [inside(folder, WEIGHTS, name)]
    elif (folder / INDEX).is_file():
        shards = read(folder / INDEX, Index, f"{name}: {INDEX}").weight_map
        files = sorted({inside(folder, shard, f"{name}: {INDEX}") for shard in shards.values()})
    else:
        names = sorted(path.name for path in folder.iterdir())
        if folder.parent.name == "snapshots":
            raise SinkscopeError(
                f"{name}: its weights are not in the local cache, into which only a part was downloaded: load it once "
                "with network access, without HF_HUB_OFFLINE"
            )
        refuse_without_safetensors(names, name)
        raise SinkscopeError(_other_weights(names, name))
    for file in files:
        _check_header(file, name)
    return files


def refuse_without_safetensors(names: Iterable[str], model: str) -> None:
    """Refuses a model none of whose files is a safetensors file.

    Args:
        names: the model's file names.
        model: the model as the user named it.

    Raises:
        SinkscopeError: if there are no weights at all, only GGUF files, of which none was named, or only pickled ones,
            which could run code while being read.
    """
    names = sorted(names)
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = [name for name in names if name.endswith(_PICKLED)]
    packed = [name for name in names if name.endswith(GGUF)]
    if packed:
        raise RequestError(which_gguf(model, packed))
    if pickled:
        raise SinkscopeError(
            f"{model} has its weights only as pickle files ({pickled[0]}), which can run code and are never loaded: "
            "convert them to safetensors"
        )
    begun = [name for name in names if name.endswith(_UNFINISHED)]
    if begun:
        raise SinkscopeError(f"{model} was not downloaded to its end ('{begun[0]}'): download it again")
    raise SinkscopeError(f"{model} holds no weights: {WEIGHTS} (or {INDEX} and its shards) is missing")


def _other_weights(names: list[str], model: str) -> str:
    """That none of a folder's safetensors files is what a model's weights are called, and what they are instead."""
    there = [name for name in names if name.endswith(".safetensors")]
    if any(name.startswith("consolidated") for name in there):
        return (
            f"{model} has its weights in the layout of Mistral's own code ('{there[0]}'), with other names: take the "
            f"files that transformers reads, {WEIGHTS} or {INDEX} and its shards"
        )
    if ADAPTER_WEIGHTS in there:
        return _adapter(model, "its base")
    if any(_SHARD.fullmatch(name) for name in there):
        return f"{model} has {len(there)} shard(s) of weights and no {INDEX}, which says what is where: download it"
    variants = [name for name in there if _VARIANT.fullmatch(name)]
    if variants:
        return f"{model} has its weights only as a variant ('{variants[0]}'): rename it to {WEIGHTS} to measure that"
    return f"{model}: found neither {WEIGHTS} nor {INDEX}; there {listed(there)}"


def _adapter(model: str, base: object) -> str:
    return (
        f"{model} is an adapter for {base}, and no model by itself: merge the two (peft's merge_and_unload) and save "
        "the result as a folder"
    )


def _no_config(folder: Path, name: str) -> str:
    """That a folder has no config.json, and what it seems to be instead."""
    if (folder / ADAPTER_CONFIG).is_file():
        base = read(folder / ADAPTER_CONFIG, Adapter, f"{name}: {ADAPTER_CONFIG}").base_model_name_or_path
        return _adapter(name, f"'{base}'" if base else "another model")
    if (folder / "params.json").is_file() and any(folder.glob("consolidated*")):
        return f"{name} is in the layout of a model's own code (params.json): take the files that transformers reads"
    return f"{name} is not a model folder: it has no {CONFIG}"


def which_gguf(model: str, there: list[str]) -> str:
    """That a model has GGUF files, one of which must be named.

    Args:
        model: the model as the user named it.
        there: the files.
    """
    return f"{model} holds its weights as GGUF: name a file with `gguf_file`; there {listed(there)}"


def no_such_gguf(name: str, wanted: str, there: list[str]) -> str:
    """That a model has no GGUF file of some name, and which it has."""
    return f"{name} holds no GGUF file '{wanted}'; there {listed(there) if there else 'is none'}"


def listed(names: list[str]) -> str:
    """The first of some files, in words."""
    found = ", ".join(f"'{name}'" for name in names[:4]) + (", ..." if len(names) > 4 else "")
    return f"{'is' if len(names) == 1 else 'are'} {found}"


def weights_sha256(files: list[Path]) -> str:
    """SHA-256 over the contents of the files one after another; for a single file, that file's own hash."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _check_header(file: Path, name: str) -> None:
    if not file.is_file():
        begun = next((part.name for part in file.parent.glob(f"{glob.escape(file.name)}*")), None)
        half = f"; '{begun}' is a download that was not finished" if begun is not None else ""
        raise SinkscopeError(f"{name}: the shard {file.name} that {INDEX} lists is missing{half}: download it again")
    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise SinkscopeError(
            f"{name}: {file.name} is not a whole safetensors file ({error}): copy or download it again"
        ) from error
