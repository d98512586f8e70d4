"""The driver of an analysis where the user leaves it open: the resident one while it fits; another is announced."""

import os
from dataclasses import replace
from pathlib import Path

from sinkscope.capture.settings import Settings
from sinkscope.inputs import ModelSource
from sinkscope.loading.resolve import Resolved
from sinkscope.models.shape import default_tokens
from sinkscope.names import LAYER_BY_LAYER, RESIDENT, STREAMED
from sinkscope.planning.choose import choose_driver
from sinkscope.planning.configured import read_configuration
from sinkscope.planning.machine import this_machine
from sinkscope.terminal import logger

_log = logger(__name__)


def automatic_driver(
    model: ModelSource,
    resolved: Resolved,
    *,
    tokens: int | None,
    sequences: int,
    batch_size: int,
    settings: Settings,
    layer_by_layer: bool,
    spill: Path | None,
    streams: bool = True,
) -> str:
    """Chooses by what the model needs and the machine has free; anything but the resident driver is logged.

    Args:
        model: how it is loaded: dtype, device and quantization, which must be among those there are.
        resolved: what its name stands for.
        tokens: T; by default the model's context, at most 2048.
        sequences: N.
        batch_size: sequences per forward pass.
        settings: what is measured.
        layer_by_layer: whether one layer's activations at a time are wanted anyway.
        spill: a folder where boundary states may go.
        streams: whether the model can be measured with one layer's weights in memory at a time.

    Returns:
        One of `names.DRIVERS`.
    """
    wanted = LAYER_BY_LAYER if layer_by_layer else RESIDENT
    if resolved.unsupported is not None or resolved.quantization is not None:
        return wanted  # loading says what is wrong; weights that are stored quantized cannot be streamed
    configured = read_configuration(resolved)
    machine = this_machine(spill)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that share this machine's memory
    choice = choose_driver(
        configured.config,
        tokens=tokens or default_tokens(configured.config),
        sequences=sequences,
        batch_size=batch_size,
        dtype=model.dtype,
        quantize=model.quantize,
        device=model.device,
        settings=settings,
        spill=spill,
        machine=replace(machine, memory=machine.memory // here),
    )
    if choice.driver not in (RESIDENT, wanted) or not choice.fits:
        advice = "; `spill` puts them there" if choice.spill and spill is None else ""
        _log.warning("%s: %s%s", model.name, choice.reason, advice)
    if choice.driver == STREAMED and (resolved.gguf is not None or not streams):
        return LAYER_BY_LAYER  # only safetensors can be streamed, and only by methods that quantize what is read
    return wanted if choice.driver == RESIDENT else choice.driver
