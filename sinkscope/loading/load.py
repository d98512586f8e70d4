"""A model by name: a folder, an id on the Hugging Face Hub, or the packaged demo.

Loading is strict where the libraries are lenient, because a number measured on half a model looks like any other:
weights come from safetensors alone, every weight of the architecture must be in them, and an architecture whose sites
are not mapped is refused before a single weight is read.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sinkscope.compat.auto_models import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES
from sinkscope.compat.bitsandbytes_modules import repair_
from sinkscope.compat.hub import looks_like_a_path
from sinkscope.errors import RequestError, SinkscopeError, first_line
from sinkscope.loading.model_folder import CONFIG, read_config, weight_files, weights_sha256
from sinkscope.loading.pinned import pin
from sinkscope.loading.quiet import quiet
from sinkscope.loading.streamed import StreamedWeights, postponed_loading
from sinkscope.models.families import FAMILIES, check_multimodal
from sinkscope.vscale.attach import CHILD, attached
from sinkscope.vscale.saved import INFO_FILE, load_into_, read_info

PACKAGED = ("demo", "demo-vscale")
PACKAGE = Path(__file__).parents[1] / "packaged"
DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("nf4", "int8")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model ready to be measured, with its provenance.

    Attributes:
        model: in eval mode.
        tokenizer: its tokenizer.
        name: as the user gave it.
        revision: commit hash on the Hub; None for a folder.
        weights_sha256: hash of the safetensors files (`loading.model_folder.weights_sha256`); None for a Hub model,
            whose commit pins them.
        quantization: `nf4`, `int8`, the method of an already quantized checkpoint, or None.
        vscale: variant of the V-scale that was attached, or None.
        checkpoint_dtype: dtype of the stored weights, by the name of torch, whatever they were loaded as.
        weights: brings the weights into memory part by part, where the model is a skeleton without them; else None.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str | None
    weights_sha256: str | None
    quantization: str | None
    vscale: str | None = None
    checkpoint_dtype: str = "float32"
    weights: StreamedWeights | None = None

    @property
    def description(self) -> dict[str, str | None]:
        """What loading knows about the model, as run.json records it."""
        known = ("name", "revision", "weights_sha256", "quantization")  # V-scale is seen on the model itself
        return {key: getattr(self, key) for key in known}


@dataclass(frozen=True)
class _Source:
    """Where transformers reads from, resolved: `location` is a folder or a Hub id, `pinning` goes with every call."""

    location: str
    pinning: dict[str, Any]
    config: dict[str, Any]
    revision: str | None
    weights_sha256: str | None


def packaged_folder(name: str) -> Path:
    """Folder of a packaged model.

    Args:
        name: one of `PACKAGED`.

    Raises:
        SinkscopeError: if this installation lacks it.
    """
    folder = PACKAGE / name
    if not (folder / CONFIG).is_file():
        raise SinkscopeError(f"this installation lacks the model {name}: reinstall sinkscope, or name another model")
    return folder


def load_model(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    quantize: str | None = None,
    trust_remote_code: bool = False,
    stream: bool = False,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Loaded:
    """Loads a causal language model and its tokenizer.

    Args:
        name: one of `PACKAGED`, a local folder (`./demo` is one too), or a model id of the Hugging Face Hub. A folder
            with a vscale.json yields its model with V-scale attached.
        revision: branch, tag or commit of a Hub model.
        dtype: one of `DTYPES`; `auto` keeps the checkpoint's.
        device: `auto` (the first CUDA device, else the CPU) or a torch device.
        device_map: one of `DEVICE_MAPS`, to spread the model over several devices; instead of `device`.
        quantize: one of `QUANTIZATIONS`, weights quantized by bitsandbytes while loading.
        trust_remote_code: allow code that comes with the model to run.
        stream: load a skeleton, whose weights `Loaded.weights` brings part by part, for the layer-by-layer driver.
        tokenizer: take this one, and ask the model for none.

    Raises:
        SinkscopeError: for every reason not to load, in one line.
    """
    check_options(dtype, quantize, device_map)
    if device_map is not None and device != "auto":
        raise RequestError("`device` and `device_map` exclude each other")
    if device_map is not None and stream:
        raise RequestError("`stream` works on one device: leave out `device_map`")
    placement: Any = device_map or {"": _device(device)}
    folder = _local(name)
    vscale = read_info(folder)
    base = vscale["base"] if vscale is not None else None
    source = _resolve_base(base, name, revision) if base is not None else _resolve(name, revision)
    checkpoint_quantization = _checkpoint_quantization(source.config)
    if quantize and checkpoint_quantization:
        raise SinkscopeError(f"{name} is quantized already ({checkpoint_quantization}): leave out `quantize`")
    if stream and checkpoint_quantization:
        raise RequestError(
            f"{name} is stored quantized ({checkpoint_quantization}), and `stream` reads full-precision weights, which "
            "it can quantize on the way (`quantize=nf4|int8`): leave out `stream`"
        )
    arguments = {**source.pinning, "trust_remote_code": trust_remote_code}
    with quiet(bars=source.revision is not None and sys.stderr.isatty()):
        tokenizer = tokenizer or _load_tokenizer(source.location, name, arguments)
        arguments |= {"dtype": dtype, "device_map": placement}
        if quantize:  # the argument, even if None, would replace the configuration of a quantized checkpoint
            arguments["quantization_config"] = _quantizer(quantize, _compute_dtype(dtype, source.config))
        with postponed_loading(wanted=stream) as postponed:
            model = _load_weights(source, name, arguments)
    weights = StreamedWeights(postponed[0], placement[""]) if stream else None
    if not stream and (quantize == "nf4" or checkpoint_quantization == "bitsandbytes"):
        repair_(model)
    if vscale is not None:
        load_into_(model, folder, vscale)
        for valve in attached(model) if stream else ():
            valve.to(placement[""])
    quantization = quantize or checkpoint_quantization
    variant = vscale["variant"] if vscale is not None else None
    return Loaded(
        model.eval(),
        tokenizer,
        name,
        source.revision,
        source.weights_sha256,
        quantization,
        variant,
        _compute_dtype("auto", source.config),
        weights,
    )


def check_options(dtype: str, quantize: str | None, device_map: str | None) -> None:
    """Refuses what `load_model` has no such choice of.

    Raises:
        SinkscopeError: naming the choices.
    """
    _one_of("`dtype`", dtype, DTYPES)
    _one_of("`quantize`", quantize, (None, *QUANTIZATIONS))
    _one_of("`device_map`", device_map, (None, *DEVICE_MAPS))


def load(name: str | Path, **loading: Any) -> PreTrainedModel:
    """Loads a model, with its V-scale where it has one.

    Args:
        name: `demo`, `demo-vscale`, a local folder (with base weights, or an adapter), or a Hub id.
        **loading: options of `load_model`.

    Returns:
        The transformers model in eval mode.
    """
    return load_model(str(name), **loading).model


def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Loads a tokenizer alone.

    Args:
        name: one of `PACKAGED`, a local folder, or a model id of the Hugging Face Hub.
        trust_remote_code: allow code that comes with it to run.

    Raises:
        SinkscopeError: if there is none.
    """
    path = _local(name)
    options = {"trust_remote_code": trust_remote_code}
    if path.is_dir():
        return _load_tokenizer(str(path), name, {**options, "local_files_only": True})
    if looks_like_a_path(name):
        raise SinkscopeError(f"there is no folder {name} to read a tokenizer from")
    pinned = pin(name, None)
    pinning = {"revision": pinned.commit, "local_files_only": pinned.cached_only}
    with quiet():
        return _load_tokenizer(name, name, {**options, **pinning})


def check_architecture(config: dict[str, Any], name: str) -> None:
    """Refuses what sinkscope cannot measure.

    Args:
        config: the parsed config.json.
        name: the model as the user named it.

    Raises:
        SinkscopeError: for an encoder, an encoder-decoder, a multimodal model without a row, an architecture that
            `models.families` does not list, or a configuration of one that is not supported.
    """
    model_type = config["model_type"]
    if model_type in FAMILIES:
        FAMILIES[model_type].check(config)
        return
    check_multimodal(config)
    known = ", ".join(sorted(FAMILIES))
    masked = model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder")
    if masked or config.get("is_encoder_decoder"):
        raise RequestError(f"{name} is a '{model_type}', not a causal language model; known architectures: {known}")
    kind = "" if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else ", nor a causal language model of transformers"
    raise RequestError(f"architecture '{model_type}' of {name} is not supported{kind}; known: {known}")


def _resolve(name: str, revision: str | None) -> _Source:
    path = _local(name)
    if path.exists():
        return _resolve_folder(path, name, revision)
    if looks_like_a_path(name):
        raise SinkscopeError(f"there is no folder {name}")
    pinned = pin(name, revision)
    config = read_config(pinned.config, name)
    check_architecture(config, name)
    pinning = {"revision": pinned.commit, "local_files_only": pinned.cached_only}
    return _Source(name, pinning, config, pinned.commit, None)


def _local(name: str) -> Path:
    return packaged_folder(name) if name in PACKAGED else Path(name).expanduser()


def _resolve_base(base: dict[str, Any], adapter: str, revision: str | None) -> _Source:
    """Where the base of a V-scale adapter is, if it is still the one that the adapter was made for."""
    if revision is not None:
        raise RequestError(f"`revision` is that of the base, which {adapter} names itself: leave it out")
    source = _resolve(base["name"], base.get("revision"))
    expected = base.get("weights_sha256")
    if expected is not None and source.weights_sha256 != expected:
        raise SinkscopeError(
            f"{adapter} is V-scale for other weights than those of {base['name']}: their SHA-256 is "
            f"{str(source.weights_sha256)[:12]}..., not {expected[:12]}..."
        )
    return source


def _resolve_folder(folder: Path, name: str, revision: str | None) -> _Source:
    if not folder.is_dir():
        raise SinkscopeError(f"{name} is a file: name the folder that holds the model")
    if revision is not None:
        raise RequestError(f"`revision` is for models of the Hugging Face Hub, and {name} is a folder")
    config = read_config(folder / CONFIG, name)
    check_architecture(config, name)
    files = weight_files(folder, name)
    return _Source(str(folder), {"local_files_only": True}, config, None, weights_sha256(files))


def _load_tokenizer(location: str, name: str, arguments: dict[str, Any]) -> PreTrainedTokenizerBase:
    missing = f"{name} has no usable tokenizer: it needs a tokenizer.json, as `tokenizer.save_pretrained` writes"
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(location, **arguments)
    except Exception as error:  # the tokenizers library knows no narrower class: it raises bare Exception
        raise SinkscopeError(f"{missing} ({first_line(error)})") from error
    # Without vocabulary files some tokenizer classes come back empty instead of failing.
    if not tokenizer("attention", add_special_tokens=False)["input_ids"]:
        raise SinkscopeError(missing)
    return tokenizer


def _load_weights(source: _Source, name: str, arguments: dict[str, Any]) -> PreTrainedModel:
    reads_images = FAMILIES[source.config["model_type"]].images
    try:
        loaded: Any = (AutoModelForImageTextToText if reads_images else AutoModelForCausalLM).from_pretrained(
            source.location,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that mismatches are reported by name, and refused below
            **arguments,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError, StrictDataclassError) as error:
        raise SinkscopeError(f"cannot load {name}: {first_line(error)}") from error
    model, report = loaded
    if report["mismatched_keys"]:
        key, stored, expected = min(report["mismatched_keys"])
        raise SinkscopeError(f"{name}: {key} has shape {list(stored)} where {CONFIG} asks for {list(expected)}")
    if report["missing_keys"]:
        missing = report["missing_keys"]
        raise SinkscopeError(f"{name}: {len(missing)} weight(s) that {CONFIG} asks for are missing, as {min(missing)}")
    if any(f".{CHILD}." in key for key in report["unexpected_keys"]):
        raise SinkscopeError(
            f"{name} holds V-scale among its weights and has no {INFO_FILE}: save such a model with "
            "sinkscope.vscale.save, not with save_pretrained"
        )
    if report["unexpected_keys"]:
        extra = report["unexpected_keys"]
        _log.warning("%s: %d stored weight(s) have no place in the model, as %s", name, len(extra), min(extra))
    assert isinstance(model, PreTrainedModel)  # noqa: S101  (narrows the auto class's return type)
    return model


def _compute_dtype(dtype: str, config: dict[str, Any]) -> str:
    """The dtype that 4-bit weights are expanded to: the model's own, so that quantization changes weights alone."""
    return str(config.get("dtype") or config.get("torch_dtype") or "float32") if dtype == "auto" else dtype


def _quantizer(quantize: str, compute_dtype: str) -> BitsAndBytesConfig:
    if quantize == "nf4":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute_dtype)
    return BitsAndBytesConfig(load_in_8bit=True)


def _checkpoint_quantization(config: dict[str, Any]) -> str | None:
    described = config.get("quantization_config")
    return str(described.get("quant_method", "unknown")) if isinstance(described, dict) else None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RequestError(f"`device={name}` cannot be used: {first_line(error)}") from error
    return device


def _one_of(option: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        named = ", ".join(choice for choice in choices if choice is not None)
        raise RequestError(f"{option} is one of {named}, not {value}")
