"""The plan of an analysis: what a model is, what each driver needs, what is free, what would be chosen, how long."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import ModelSource
from sinkscope.keywords import ModelFields, listing, refuse_unknown
from sinkscope.loading.device import named_device, usable_device
from sinkscope.loading.load import check_options
from sinkscope.loading.named import model_source
from sinkscope.loading.resolve import Resolved, resolve
from sinkscope.methods.choose import method_of
from sinkscope.methods.library.method import Method
from sinkscope.methods.probes import Probe
from sinkscope.models.shape import context_of, default_tokens
from sinkscope.names import QUANTIZATION_BITS, STREAMED
from sinkscope.planning import shown
from sinkscope.planning.choose import Choice, choose_driver, size
from sinkscope.planning.configured import ConfiguredModel, read_configuration
from sinkscope.planning.estimate import Work
from sinkscope.planning.machine import Machine, this_machine
from sinkscope.planning.speed import Duration, duration, matmul_rate

_NOTABLE = 2**30
_NAME_OF_BITS = {bits: name for name, bits in QUANTIZATION_BITS.items()}


@dataclass(frozen=True, repr=False)
class Plan:
    """What `sinkscope plan` says.

    Attributes:
        model: what is known of the model.
        work: what is to be analyzed.
        quantize: the quantization method that it is measured under, or None.
        choice: the driver, with the needs of all.
        duration: of the chosen driver.
        machine: what is free.
        warnings: what to know.
    """

    model: ConfiguredModel
    work: Work
    quantize: str | None
    choice: Choice
    duration: Duration
    machine: Machine
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return shown.line(self.model.name, self.work, self.choice, self.duration)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return shown.html(self.model.name, self.work, self.choice, self.duration, self.warnings)

    def as_json(self) -> dict[str, Any]:
        """The plan in plain values; sizes in bytes, times in seconds."""
        resolved, choice, parameters = self.model.resolved, self.choice, self.choice.parameters
        return {
            "model": {
                "name": self.model.name,
                "revision": resolved.revision,
                "model_type": self.model.config.model_type,
                "supported": resolved.unsupported is None,
                "dtype": str(choice.dtype).removeprefix("torch."),
                "quantization": self.quantize or resolved.quantization,
            },
            "parameters": {
                "total": parameters.total.parameters,
                "embedding": parameters.embedding.parameters,
                "head": parameters.head.parameters,
                "tied": parameters.tied,
                "layers": parameters.layers,
                "largest_layer": parameters.layer.parameters,
                "active": parameters.active,
            },
            "weights_bytes": {
                "total": parameters.total.bytes,
                "embedding": parameters.embedding.bytes,
                "head": parameters.head.bytes,
                "largest_layer": parameters.layer.bytes,
            },
            "sequences": self.work.sequences,
            "tokens": self.work.tokens,
            "batch_size": self.work.batch_size,
            "drivers": {name: {**asdict(need), "total": need.total} for name, need in choice.needs.items()},
            "driver": choice.driver,
            "spill": choice.spill,
            "fits": choice.fits,
            "reason": choice.reason,
            "device": choice.device,
            "machine": asdict(self.machine),
            "time": asdict(self.duration),
            "warnings": list(self.warnings),
        }


@listing(ModelSource)
def plan(
    model: str | Path | ModelSource = "demo",
    *,
    tokens: int | None = None,
    sequences: int = 32,
    batch_size: int = 1,
    settings: Settings | None = None,
    spill: str | Path | None = None,
    resolved: Resolved | None = None,
    **loading: Unpack[ModelFields],
) -> Plan:
    """Plans an analysis from a model's configuration.

    Args:
        model: `demo`, a local folder (a config.json is enough), a GGUF file, or a model id of the Hub; or a
            `ModelSource`.
        tokens: T; by default the model's context, at most 2048.
        sequences: N.
        batch_size: sequences per forward pass.
        settings: what is measured.
        spill: a folder where the states between layers may go.
        resolved: what the model's name and revision stand for, where that is known already.
        **loading: the other fields of `ModelSource` (revision, dtype, device, quantize).

    Raises:
        SinkscopeError: for a model or a request that cannot be planned, in one line.
    """
    refuse_unknown(loading, ModelFields, plan)
    source, in_memory = model_source(model, loading)
    if in_memory is not None:
        raise RequestError("a loaded model is in memory already: name its folder or id to plan an analysis of it")
    name, quantize = source.name, source.quantize
    check_options(source.dtype, None, source.device_map)
    if named_device(source.device).type != "cuda":  # of GPUs the machine's list is asked
        usable_device(source.device)
    method = None if quantize is None else method_of(quantize)  # whether it can run is the measuring machine's affair
    quantize = None if method is None else quantize
    resolved = resolved or resolve(name, source.revision, source.gguf_file)
    configured = read_configuration(resolved)
    if quantize and resolved.quantization:
        raise SinkscopeError(f"{name} is quantized already ({resolved.quantization}): leave out `quantize`")
    context = context_of(configured.config)
    tokens = default_tokens(configured.config) if tokens is None else tokens
    work = Work(sequences, tokens, batch_size, settings or Settings())
    folder = None if spill is None else Path(spill).expanduser()
    machine = this_machine(folder)
    choice = choose_driver(
        configured.config,
        tokens=tokens,
        sequences=sequences,
        batch_size=batch_size,
        dtype=source.dtype,
        quantize=method.held_as if isinstance(method, Method) else _NAME_OF_BITS.get(resolved.bits or 0),
        device=source.device,
        settings=settings,
        spill=folder,
        machine=machine,
    )
    rate = matmul_rate(choice.device, choice.dtype)
    return Plan(
        configured,
        work,
        quantize,
        choice,
        duration(choice, work, rate),
        machine,
        (*_warnings(configured, choice, work, context), *_of_method(method, quantize, choice, work)),
    )


def _warnings(model: ConfiguredModel, choice: Choice, work: Work, context: int | None) -> tuple[str, ...]:
    resolved = model.resolved
    warnings = [str(resolved.unsupported)] if resolved.unsupported else []
    if context is not None and work.tokens > context:
        warnings.append(f"{work.tokens} tokens exceed the model's context of {context}: analyze will refuse them")
    if resolved.quantization and resolved.bits is None:
        warnings.append(f"the checkpoint is quantized ({resolved.quantization}); its weights are counted unquantized")
    if choice.driver == STREAMED and resolved.gguf is not None:
        warnings.append("a GGUF file cannot be streamed: save the model as a folder first (docs/gguf.md)")
    if choice.spill:
        warnings.append("the states between layers need `spill`, on a disk with room for them")
    need = choice.needs[choice.driver]
    if need.statistics > max(need.weights, _NOTABLE):
        warnings.append(f"statistics need {size(need.statistics)}: a smaller `positions`, as 64, helps")
    return (*warnings, *choice.warnings)


def _of_method(method: Probe | Method | None, name: str | None, choice: Choice, work: Work) -> tuple[str, ...]:
    """What to know of a quantization method."""
    if method is None:
        return ()
    warnings = []
    if choice.driver == STREAMED and not (isinstance(method, Method) and method.streams):
        warnings.append(f"{name} is put on a model in memory, and cannot be streamed")
    if isinstance(method, Method) and method.no_gradient and work.settings.backward:
        warnings.append(f"no gradient passes through {name}: analyze will refuse it without `backward=False`")
    if method.calibrates:
        warnings.append(f"{name} calibrates first: a pass without gradients over as many windows more")
    return tuple(warnings)
