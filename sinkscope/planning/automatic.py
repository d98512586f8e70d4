"""The driver of an analysis where the user leaves it open: the resident one while it fits; another is announced."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from sinkscope.capture.settings import Settings
from sinkscope.loading.load import check_options
from sinkscope.loading.resolve import Resolved, resolve
from sinkscope.models.shape import default_tokens
from sinkscope.names import RESIDENT, STREAMED
from sinkscope.planning.choose import choose_driver
from sinkscope.planning.described import describe_model
from sinkscope.planning.machine import this_machine

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drive:
    """How an analysis makes its passes.

    Attributes:
        stream: one layer's weights in memory at a time.
        layerwise: one layer's activations in memory at a time; part of `stream`.
    """

    stream: bool
    layerwise: bool


def automatic_drive(
    name: str,
    *,
    tokens: int | None,
    sequences: int,
    batch_size: int,
    settings: Settings,
    layerwise: bool,
    spill: Path | None,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    quantize: str | None = None,
    resolved: Resolved | None = None,
) -> Drive:
    """Chooses by what the model needs and the machine has free; anything but the resident driver is logged.

    Args:
        name: of the model.
        tokens: T; by default the model's context, at most 2048.
        sequences: N.
        batch_size: sequences per forward pass.
        settings: what is measured.
        layerwise: whether one layer's activations at a time are wanted anyway.
        spill: a folder where boundary states may go.
        revision: of a Hub model.
        dtype: one of `names.DTYPES`.
        device: where the model computes.
        quantize: one of `names.QUANTIZATIONS`, or None.
        resolved: what `name` and `revision` stand for, where that is known already.
    """
    check_options(dtype, quantize, None)
    resolved = resolved or resolve(name, revision)
    described = describe_model(resolved)
    if resolved.unsupported is not None or resolved.quantization is not None:
        return Drive(False, layerwise)  # loading says what is wrong; stored quantized weights cannot be streamed
    machine = this_machine(spill)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that share this machine's memory
    choice = choose_driver(
        described.config,
        tokens=tokens or default_tokens(described.config),
        sequences=sequences,
        batch_size=batch_size,
        dtype=dtype,
        quantize=quantize,
        device=device,
        settings=settings,
        spill=spill,
        machine=replace(machine, memory=machine.memory // here),
    )
    stream, layers = choice.driver == STREAMED, choice.driver != RESIDENT
    if stream or (layers and not layerwise) or not choice.fits:
        advice = "; `spill` puts them there" if choice.spill and spill is None else ""
        _log.warning("%s: %s%s", name, choice.reason, advice)
    return Drive(stream, layerwise or layers)
