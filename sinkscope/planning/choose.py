"""Which driver an analysis takes on a machine: the fastest one that fits.

    choice = choose_driver(config, tokens=2048, sequences=32)
    choice.driver, choice.reason, choice.bytes

The resident driver is the fastest. Layer by layer computes every layer's forward pass twice; streamed does so too and
reads the weights from disk, twice in all.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel

from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError
from sinkscope.names import LAYER_BY_LAYER, RESIDENT, STREAMED
from sinkscope.planning.estimate import Need, Work, activations, dtype_of, needs
from sinkscope.planning.machine import Machine, this_machine
from sinkscope.planning.parameters import Parameters, count, decoder_of, skeleton
from sinkscope.planning.trace import Trace

_USABLE = 0.9  # of what is free: the rest is for the process itself and its neighbours


@dataclass(frozen=True)
class Choice:
    """The driver to take.

    Attributes:
        driver: one of `names.DRIVERS`.
        reason: why, in one line.
        spill: whether the boundary states must go to disk.
        fits: whether the driver fits; where not even the streamed one does, it is the choice all the same.
        needs: bytes by driver, in parts.
        device: where the model computes.
        free: bytes that are free there.
        parameters: the weights by part.
        trace: the activations of one micro-batch.
        dtype: what the model runs in.
        warnings: what to know about these figures.
    """

    driver: str
    reason: str
    spill: bool
    fits: bool
    needs: dict[str, Need]
    device: str
    free: int
    parameters: Parameters
    trace: Trace
    dtype: torch.dtype
    warnings: tuple[str, ...] = ()

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes that each driver needs in all."""
        return {driver: need.total for driver, need in self.needs.items()}


def choose_driver(
    model: PretrainedConfig | PreTrainedModel,
    *,
    tokens: int,
    sequences: int,
    batch_size: int = 1,
    dtype: str = "auto",
    quantize: str | None = None,
    device: str = "auto",
    settings: Settings | None = None,
    spill: Path | None = None,
    machine: Machine | None = None,
) -> Choice:
    """Chooses how an analysis makes its passes. Reads no weights, and takes about a second.

    Args:
        model: the configuration, or a model whose configuration is taken.
        tokens: T of each sequence.
        sequences: N.
        batch_size: sequences per forward pass.
        dtype: one of `names.DTYPES`.
        quantize: one of `names.QUANTIZATIONS`, or None.
        device: `auto`, `cpu` or a CUDA device.
        settings: what is measured.
        spill: a folder where boundary states may go.
        machine: what is free; by default as `this_machine` finds it.

    Raises:
        SinkscopeError: if transformers makes no causal LM of the configuration, or there is no such device.
    """
    config = model if isinstance(model, PretrainedConfig) else model.config
    work = Work(sequences, tokens, batch_size, settings or Settings())
    _check(work)
    machine = machine or this_machine(spill)
    place = ("cuda:0" if machine.gpus else "cpu") if device == "auto" else device
    free = machine.free_on(place)
    run_dtype = dtype_of(dtype, config)
    planned = skeleton(config, run_dtype)
    decoder, layers = decoder_of(planned)
    parameters = count(planned, layers, quantize)
    traced, warning = activations(planned, decoder, layers, work)
    needed = needs(traced, parameters, planned, work)
    driver, spilled, fits, reason = _decide(needed, place, free, machine)
    warnings = (warning,) if warning else ()
    return Choice(driver, reason, spilled, fits, needed, place, free, parameters, traced, run_dtype, warnings)


# In order of speed. Boundary states on disk cost less than they seem: they are written once and read once.
_CANDIDATES = (
    (RESIDENT, False),
    (LAYER_BY_LAYER, False),
    (STREAMED, False),
    (LAYER_BY_LAYER, True),
    (STREAMED, True),
)


def _decide(needed: dict[str, Need], place: str, free: int, machine: Machine) -> tuple[str, bool, bool, str]:
    """Driver, whether it spills, whether it fits, and why."""
    where = "memory" if place == "cpu" else f"memory of {place}"
    too_large: list[str] = []
    for driver, spilled in _CANDIDATES:
        need = needed[driver]
        # Boundary states lie in the machine's memory, also where the model computes on a GPU.
        computing = need.computing if spilled or place != "cpu" else need.total
        boundary = 0 if place == "cpu" or spilled else need.boundary
        on_disk = need.boundary if spilled else 0
        fits = (
            computing <= _USABLE * free and boundary <= _USABLE * machine.memory and on_disk <= _USABLE * machine.disk
        )
        if fits:
            disk = f", and {size(on_disk)} of disk for the states between layers" if spilled else ""
            why = f"{driver} needs {size(computing)} of {size(free)} free {where}{disk}"
            return driver, spilled, True, "; ".join([why, *too_large])
        if not spilled:
            too_large.append(f"{driver} would need {size(need.total)}")
    need = needed[STREAMED]
    if need.computing > _USABLE * free:
        lacking = f"even streamed needs {size(need.computing)} of {size(free)} free {where}"
        return STREAMED, False, False, f"nothing fits: {lacking}; use fewer `tokens` or a smaller `batch_size`"
    lacking = f"{size(need.boundary)} of states between layers fit neither memory nor {size(machine.disk)} of disk"
    return STREAMED, True, False, f"nothing fits: {lacking}; use fewer `sequences` or `tokens`"


def _check(work: Work) -> None:
    if work.sequences < 1 or work.batch_size < 1:
        raise RequestError("`sequences` and `batch_size` must be at least 1")
    if work.tokens < 2:
        raise RequestError("a sequence needs at least 2 tokens, one to predict")


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit, power in (("GiB", 3), ("MiB", 2), ("KiB", 1)):
        if count >= 1024**power:
            value = count / 1024**power
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{count:.0f} B"
