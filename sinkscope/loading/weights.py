"""Weights from safetensors files into a model, strictly: all of the architecture's weights, and each in its shape."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from sinkscope.compat.gguf_reading import quickly
from sinkscope.errors import SinkscopeError, first_line
from sinkscope.loading.gguf_file import Gguf
from sinkscope.loading.model_folder import CONFIG, check_generation_config
from sinkscope.loading.resolve import Resolved
from sinkscope.models.families import FAMILIES
from sinkscope.vscale.attach import CHILD
from sinkscope.vscale.saved import INFO_FILE

_log = logging.getLogger(__name__)


def load_weights(resolved: Resolved, arguments: dict[str, Any]) -> PreTrainedModel:
    """Has transformers load a model, and refuses what it would load all the same.

    Args:
        resolved: a model of a known architecture.
        arguments: of `from_pretrained`, the pinning included.

    Raises:
        SinkscopeError: if it cannot be loaded, or its files and its configuration do not agree.
    """
    name = resolved.name
    if resolved.gguf is None:
        check_generation_config(resolved.folder, name)
    reads_images = FAMILIES[resolved.config["model_type"]].images
    try:
        if resolved.gguf is not None:
            arguments = {**arguments, "config": resolved.gguf.configuration()}
        with _as_read(resolved.gguf):
            loaded: Any = (AutoModelForImageTextToText if reads_images else AutoModelForCausalLM).from_pretrained(
                resolved.location,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that mismatches are reported by name, and refused below
                **arguments,
            )
    except Exception as error:  # what a value of config.json leads to there can be of any kind
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
    if resolved.gguf is not None:
        _check_unpacked(model, resolved.gguf, name)
    return model


@contextmanager
def _as_read(gguf: Gguf | None) -> Iterator[None]:
    """Has a GGUF file read quickly, and without the bar that transformers draws whatever its own settings of bars."""
    if gguf is None:
        yield
        return
    with quickly(), redirect_stderr(io.StringIO()):
        yield


def _check_unpacked(model: PreTrainedModel, gguf: Gguf, name: str) -> None:
    """Refuses weights that are still packed, and says where the reader passed over some."""
    if getattr(model.config, "quantization_config", None) is not None or not all(
        parameter.is_floating_point() for parameter in model.parameters()
    ):
        raise SinkscopeError(
            f"transformers left the weights of {name} packed: save them as a folder with another release"
        )
    left = gguf.header.numbers - model.num_parameters()
    if left > 0:
        _log.warning("%s: %d stored numbers have no place in the model that transformers makes of it", name, left)
