"""A peft adapter in a model's own folder: whether it belongs to the model is for the user to say.

transformers puts such an adapter on where peft is installed and passes over it where not, without a word either way. So
a folder with one is refused until `adapter` says what is meant: `ignore` measures the weights as they are, `merge` adds
the adapter's low-rank products to them first. Either is recorded.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError, first_line
from sinkscope.loading.deviations import ADAPTER, Deviation
from sinkscope.loading.model_folder import ADAPTER_CONFIG
from sinkscope.loading.model_hash import content_sha256, file_sha256
from sinkscope.loading.resolve import Resolved

_WEIGHTS = "adapter_model.safetensors"
_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


def check_adapter(resolved: Resolved, asked: str, *, held_whole: bool) -> list[Deviation]:
    """Finds out what an adapter in a model's folder is to do.

    Args:
        resolved: the model.
        asked: of `names.ADAPTERS`.
        held_whole: whether the weights will be in memory as they are stored: not quantized, and not in parts.

    Returns:
        What run.json says where one is left out.

    Raises:
        RequestError: if there is one and nothing was asked, or it cannot be merged; if there is none to merge.
    """
    if not resolved.adapter:
        if asked == "merge":
            raise RequestError(f"{resolved.name} has no {ADAPTER_CONFIG} to merge: leave out `adapter`")
        return []
    if asked == "refuse":
        raise SinkscopeError(
            f"{resolved.name} holds an adapter ({ADAPTER_CONFIG}) beside its weights, which may be meant or forgotten: "
            "`adapter=merge` measures the model with it, `adapter=ignore` the weights alone, or merge it yourself"
        )
    if asked == "ignore":
        return [Deviation(ADAPTER, f"{ADAPTER_CONFIG} lies beside the weights and was left out", (), allowed=True)]
    if not held_whole:
        raise RequestError("`adapter=merge` adds to weights that are whole: leave out `stream` and `quantize`")
    if not (resolved.folder / _WEIGHTS).is_file():
        raise SinkscopeError(f"{resolved.name} has no {_WEIGHTS} in a local folder, so its adapter cannot be merged")
    return []


def adapter_sha256(folder: Path) -> str:
    """Hash of an adapter's two files."""
    return content_sha256([file_sha256(folder / ADAPTER_CONFIG), file_sha256(folder / _WEIGHTS)])


def merge_adapter_(model: PreTrainedModel, folder: Path, name: str) -> PreTrainedModel:
    """Adds the products of a low-rank adapter to a model's weights, in place; every tensor of it must find its place.

    Args:
        model: in full precision.
        folder: holds the adapter.
        name: the model as the user named it.

    Raises:
        SinkscopeError: if peft is not installed, or the adapter is of another kind or for another model.
    """
    try:
        import peft
    except ImportError as error:
        raise RequestError("`adapter=merge` needs the package peft: pip install 'sinkscope[lora]'") from error
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        if not isinstance(config, peft.LoraConfig):
            raise SinkscopeError(f"{name}: its adapter is a '{config.peft_type}', and only LoRA's can be merged")
        config.inference_mode = True
        wrapped: Any = peft.get_peft_model(model, config)
        found: Any = peft.set_peft_model_state_dict(wrapped, load_file(folder / _WEIGHTS))
        lost = [*found.unexpected_keys, *(key for key in found.missing_keys if ".lora_" in key)]
        if lost:
            raise SinkscopeError(f"{name}: its adapter is of another model, as {min(lost)} shows")
        merged: PreTrainedModel = wrapped.merge_and_unload()
    except _FAILURES as error:
        raise SinkscopeError(f"{name}: its adapter cannot be merged: {first_line(error)}") from error
    return merged
