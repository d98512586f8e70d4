"""A model's configuration by name, and nothing else of it: no weights, no tokenizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PretrainedConfig

from sinkscope.compat.hub import looks_like_a_path
from sinkscope.errors import RequestError, SinkscopeError, first_line
from sinkscope.loading.load import PACKAGED, check_architecture, packaged_folder
from sinkscope.loading.model_folder import CONFIG, read_config
from sinkscope.loading.pinned import pin
from sinkscope.loading.quiet import quiet
from sinkscope.vscale.saved import read_info


@dataclass(frozen=True)
class Described:
    """A model that is known by its configuration.

    Attributes:
        name: as the user gave it.
        config: its configuration.
        revision: commit on the Hub; None for a folder.
        quantization: method of an already quantized checkpoint, or None.
        bits: bits per weight of that checkpoint's linear modules, where it says so.
        unsupported: why `analyze` would refuse it; None where it would not.
    """

    name: str
    config: PretrainedConfig
    revision: str | None
    quantization: str | None
    bits: int | None
    unsupported: str | None


def describe_model(name: str, revision: str | None = None) -> Described:
    """Reads a model's configuration.

    Args:
        name: a packaged model, a local folder (which need not hold more than a config.json), or a model id of the Hub.
        revision: branch, tag or commit of a Hub model.

    Raises:
        SinkscopeError: if there is none, or transformers does not know its architecture.
    """
    folder = packaged_folder(name) if name in PACKAGED else Path(name).expanduser()
    adapter = read_info(folder)
    base = adapter["base"] if adapter is not None else None
    if base is not None:
        return describe_model(base["name"], base.get("revision"))
    if folder.exists() or looks_like_a_path(name):
        file, commit = _of_folder(folder, name, revision), None
    else:
        pinned = pin(name, revision)
        file, commit = pinned.config, pinned.commit
    values = read_config(file, name)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(str(file.parent), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StrictDataclassError) as error:
        raise SinkscopeError(f"{name}: transformers cannot read its {CONFIG}: {first_line(error)}") from error
    method, bits = _quantization(values)
    if method is not None:
        del config.quantization_config  # sizes are taken from the architecture, which is built unquantized
    return Described(name, config, commit, method, bits, _unsupported(values, name))


def _of_folder(folder: Path, name: str, revision: str | None) -> Path:
    if not folder.exists():
        raise SinkscopeError(f"there is no folder {name}")
    if not folder.is_dir():
        raise SinkscopeError(f"{name} is a file: name the folder that holds the model")
    if revision is not None:
        raise RequestError(f"`revision` is for models of the Hugging Face Hub, and {name} is a folder")
    return folder / CONFIG


def _quantization(values: dict[str, Any]) -> tuple[str | None, int | None]:
    described = values.get("quantization_config")
    if not isinstance(described, dict):
        return None, None
    method = str(described.get("quant_method", "unknown"))
    if described.get("load_in_4bit"):
        return method, 4
    if described.get("load_in_8bit") or method in ("fp8", "fbgemm_fp8"):
        return method, 8
    bits = described.get("bits")
    return method, bits if isinstance(bits, int) else 4 if method == "mxfp4" else None


def _unsupported(values: dict[str, Any], name: str) -> str | None:
    try:
        check_architecture(values, name)
    except SinkscopeError as error:
        return str(error)
    return None
