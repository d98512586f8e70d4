"""Weights from safetensors files into a model, strictly: all of the architecture's weights, and each in its shape."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from sinkscope.compat.attention_implementation import ATTRIBUTE, choose_attention_
from sinkscope.compat.gguf_reading import quickly
from sinkscope.compat.loading_report import forgiven_patterns, nothing_forgiven
from sinkscope.compat.stored_quantization import whole_blocks
from sinkscope.errors import SinkscopeError, first_line
from sinkscope.loading.deviations import FRESH, RESHAPED, UNUSED, Deviation, refuse, unused
from sinkscope.loading.gguf_file import Gguf
from sinkscope.loading.model_folder import CONFIG, check_generation_config
from sinkscope.loading.quantizer import EXPANDED, block_of
from sinkscope.loading.resolve import Resolved
from sinkscope.models.families import FAMILIES
from sinkscope.models.taps.redirect import FUSED
from sinkscope.terminal import logger
from sinkscope.vscale.attach import CHILD
from sinkscope.vscale.saved import INFO_FILE

_log = logger(__name__)


def load_weights(
    resolved: Resolved, arguments: dict[str, Any], *, allow: bool = False
) -> tuple[PreTrainedModel, list[Deviation]]:
    """Has transformers load a model, and refuses what it would load all the same.

    Args:
        resolved: a model of a known architecture.
        arguments: of `from_pretrained`, the pinning included.
        allow: whether the model may deviate from its files.

    Returns:
        The model, and where it deviates.

    Raises:
        SinkscopeError: if it cannot be loaded, or its files and its configuration do not agree.
    """
    name = resolved.name
    unconverted: dict[str, str] = {}
    if resolved.gguf is None:
        check_generation_config(resolved.folder, name)
    reads_images = FAMILIES[resolved.config["model_type"]].images
    try:
        if resolved.gguf is not None:
            arguments = {**arguments, "config": resolved.gguf.configuration()}
        elif _asks_for_a_kernel(resolved.config):
            trusted = {"trust_remote_code": arguments.get("trust_remote_code", False)}
            config = AutoConfig.from_pretrained(resolved.location, **resolved.pinning, **trusted)
            choose_attention_(config, FUSED)
            arguments = {**arguments, "config": config}
        block = block_of(resolved.config) if resolved.quantization in EXPANDED else None
        with _as_read(resolved.gguf), nothing_forgiven() as unconverted, whole_blocks(block), torch.random.fork_rng([]):
            torch.manual_seed(0)  # of what a user lets be drawn at random
            loaded: Any = (AutoModelForImageTextToText if reads_images else AutoModelForCausalLM).from_pretrained(
                resolved.location,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that mismatches are reported by name, and refused below
                **arguments,
            )
    except Exception as error:  # what a value of config.json leads to there can be of any kind
        for key, why in sorted(unconverted.items()):
            raise SinkscopeError(f"{name}: '{key}' cannot be read: {_reason(why)}") from error
        raise SinkscopeError(f"cannot load {name}: {first_line(error)}") from error
    model, report = loaded
    assert isinstance(model, PreTrainedModel)  # noqa: S101  (narrows the auto class's return type)
    if any(f".{CHILD}." in key for key in report["unexpected_keys"]):
        raise SinkscopeError(
            f"{name} holds V-scale among its weights and has no {INFO_FILE}: save such a model with "
            "sinkscope.vscale.save, not with save_pretrained"
        )
    deviations = _deviations(model, report, resolved)
    refuse(name, deviations, allow=allow)
    for deviation in deviations:
        _log.warning("%s: %s", name, deviation.in_words())
    return model, deviations


def _reason(error: str) -> str:
    """The line that says why, of a traceback behind which transformers has put where."""
    lines = [line for line in error.strip().splitlines() if not line.startswith("Error")]
    return lines[-1].strip() if lines else error.strip()


def _asks_for_a_kernel(config: dict[str, Any]) -> bool:
    """Whether config.json asks for attention that needs a package of its own; a tap takes its place when measuring."""
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    asked = {str(part.get(key)) for part in parts for key in (ATTRIBUTE, ATTRIBUTE.removeprefix("_"))}
    return bool(asked - {"None", FUSED, "eager"})


def _deviations(model: PreTrainedModel, report: dict[str, Any], resolved: Resolved) -> list[Deviation]:
    """Where a loaded model is not what its files hold."""
    found = []
    if report["mismatched_keys"]:
        key, stored, expected = min(report["mismatched_keys"])
        why = f"stored in another shape, as '{key}': {list(stored)} where {CONFIG} asks for {list(expected)}"
        found.append(Deviation(RESHAPED, why, tuple(key for key, *_ in report["mismatched_keys"]), allowed=True))
    if report["missing_keys"]:
        found.append(Deviation(FRESH, "missing, drawn at random", tuple(report["missing_keys"]), allowed=True))
    layers = FAMILIES[resolved.config["model_type"]].layers
    found += unused(report["unexpected_keys"], resolved.config, layers, forgiven_patterns(model))
    if resolved.gguf is not None:
        found += _check_unpacked(model, resolved.gguf, resolved.name)
    return found


@contextmanager
def _as_read(gguf: Gguf | None) -> Iterator[None]:
    """Has a GGUF file read quickly, and without the bar that transformers draws whatever its own settings of bars."""
    if gguf is None:
        yield
        return
    with quickly(), redirect_stderr(io.StringIO()):
        yield


def _check_unpacked(model: PreTrainedModel, gguf: Gguf, name: str) -> list[Deviation]:
    """Refuses weights that are still packed, and finds those that the reader passed over."""
    if getattr(model.config, "quantization_config", None) is not None or not all(
        parameter.is_floating_point() for parameter in model.parameters()
    ):
        raise SinkscopeError(
            f"transformers left the weights of {name} packed: save them as a folder with another release"
        )
    left = gguf.header.numbers - model.num_parameters()
    if left <= 0:
        return []
    return [Deviation(UNUSED, f"{left} stored numbers without a place in the model", (), allowed=True)]
