"""A model in one GGUF file, the format of llama.cpp: which file it is, and what it holds.

transformers reads such a file and unpacks its weights, and sinkscope measures what comes out. The file is looked at
here first, because transformers passes over what it does not know: a file that is one part of several; scaled rotary
positions, without which the model would be another one.
"""

import hashlib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from sinkscope.compat.gguf_reading import quickly
from sinkscope.errors import RequestError, SinkscopeError, first_line
from sinkscope.inside import inside
from sinkscope.loading.gguf_header import SCALED_ROTATION, UNREADABLE, Header, read_header
from sinkscope.loading.model_folder import CONFIG, GGUF, no_such_gguf, which_gguf
from sinkscope.loading.quiet import quiet


@dataclass(frozen=True)
class Gguf:
    """A model's GGUF file.

    Attributes:
        file: its name in its folder or repository.
        path: where it is.
        config: the model's configuration, as transformers makes it of the file's header.
        header: what the file says of itself.
    """

    file: str
    path: Path
    config: dict[str, Any]
    header: Header

    def configuration(self) -> PretrainedConfig:
        """The configuration as an object, so that nobody has it read from the file again.

        Raises:
            ValueError: if transformers does not know the architecture, or refuses a value.
        """
        made: PretrainedConfig = AutoConfig.for_model(**deepcopy(self.config))
        return made

    def sha256(self) -> str:
        """Hash of the file."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def gguf_in(folder: Path, wanted: str | None, name: str) -> str | None:
    """The GGUF file that a folder's model is in.

    Args:
        folder: the folder.
        wanted: name of the file; by default the only one of a folder that holds no safetensors.
        name: the model as the user named it.

    Returns:
        Its name; None where the folder is another kind of model.

    Raises:
        RequestError: if there is no such file, or several and nothing that says which.
    """
    there = sorted(path.name for path in folder.glob(f"*{GGUF}"))
    if wanted is not None:
        inside(folder, wanted, "`gguf_file`")
        if not wanted.endswith(GGUF) or not (folder / wanted).is_file():
            raise RequestError(no_such_gguf(name, wanted, there))
        return wanted
    if not there or any(folder.glob("*.safetensors")):
        return None
    if len(there) == 1:
        inside(folder, there[0], name)
        return there[0]
    if (folder / CONFIG).is_file():
        return None  # it can be planned by its configuration; loading finds no weights, and names the files
    raise RequestError(which_gguf(name, there))


def read_gguf(path: Path, file: str, name: str) -> Gguf:
    """Finds out what model a GGUF file holds; no weights are read.

    Args:
        path: the file.
        file: its name in its folder or repository.
        name: the model as the user named it.

    Raises:
        SinkscopeError: if the package gguf is not installed, the file is cut short or a part of several, transformers
            does not know its architecture, or would leave out how its positions are encoded.
    """
    header = read_header(path, name)
    parts = header.facts.get("split.count", 1)
    if parts > 1:
        raise SinkscopeError(f"{name} is one of {parts} parts of a GGUF file: merge them, as llama-gguf-split does")
    try:
        with quiet(), quickly():
            config, _ = PretrainedConfig.get_config_dict(
                str(path.parent), gguf_file=str(path.absolute()), local_files_only=True
            )
    except (*UNREADABLE, NotImplementedError) as error:
        architecture = header.facts.get("general.architecture")
        raise SinkscopeError(
            f"transformers cannot read {name}, of GGUF's architecture '{architecture}': {first_line(error)}"
        ) from error
    if not isinstance(config.get("model_type"), str):
        raise SinkscopeError(f"{name} names no architecture in its header")
    _refuse_lost_layers(header, name)
    _refuse_lost_scaling(header, config, name)
    return Gguf(file, path, config, header)


def _refuse_lost_layers(header: Header, name: str) -> None:
    """Refuses a header that asks for layers which the file has no tensors of, before anything is made that large."""
    there = {tensor.split(".")[1] for tensor in header.names if tensor.startswith("blk.")}
    asked = header.facts.get(f"{header.facts.get('general.architecture')}.block_count", 0)
    if isinstance(asked, int) and asked > len(there):
        raise SinkscopeError(
            f"{name} asks for {asked} layers and holds tensors of {len(there)}: copy or download it again"
        )


def _refuse_lost_scaling(header: Header, config: dict[str, Any], name: str) -> None:
    """Refuses scaled rotary positions that the configuration does not have."""
    found = [tensor for tensor in SCALED_ROTATION if tensor in header.names]
    found += [key for key, value in header.facts.items() if key.endswith(".rope.scaling.type") and value != "none"]
    kept = config.get("rope_scaling") or (config.get("rope_parameters") or {}).get("rope_type", "default") != "default"
    if found and not kept:
        raise SinkscopeError(
            f"{name} scales its rotary positions ('{found[0]}'), which transformers does not read from GGUF, and "
            "without it is another model: take its safetensors"
        )
