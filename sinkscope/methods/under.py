"""A model that a verb measures, put under a quantization method.

    under = asked(ModelSource("demo", quantize="w8a8-static"), MethodOptions())    # refuses what cannot work
    loaded = under.load()
    loaded = under.put(loaded, calibration_text(...) if under.calibrates else None)

Between the two, the model's tokenizer and context say how the text is cut that calibrates. bitsandbytes quantizes while
the model is loaded; everything else comes after. The model stays under its method for as long as it lives: during every
pass, and during generation with its cache. Static scales are fixed by then. A cache of few bits alone is not put on the
model for good: `with under.entered(model)` lasts as long as it is measured.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import MethodOptions, ModelSource
from sinkscope.loading.compressed import METHOD, rounds_inputs
from sinkscope.loading.load import Loaded, check_options, load_named
from sinkscope.loading.resolve import Resolved, resolve
from sinkscope.methods.cache.generating import GenerationCache
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.calibration_text import CalibrationText
from sinkscope.methods.choose import check_modules, choose, method_of
from sinkscope.methods.grammar import CacheRounding, GeneratingCache, canonical, check_method, split
from sinkscope.methods.library.method import LoadRequest, Method
from sinkscope.methods.probes import Probe, probe_
from sinkscope.names import NONE, QUANTIZATIONS
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.vscale.attach import attached

STRAIGHT_THROUGH, EXACT = "straight-through", "exact"


@dataclass(frozen=True)
class Under:
    """The method that a model is measured under.

    Attributes:
        source: the model.
        options: how the method is put on it.
        method: a probe, a library method, or None for linear maps as they are.
        cache: what rounds the cache; None for the cache as it is.
    """

    source: ModelSource
    options: MethodOptions
    method: Probe | Method | None
    cache: CacheProbe | GenerationCache | None = None

    @property
    def name(self) -> str | None:
        """The method's name; None for the model as it is."""
        return None if self.method is None and self.cache is None else self.source.quantize

    @property
    def generation(self) -> dict[str, Any] | None:
        """What transformers makes the cache of generation with; None for its usual one."""
        return self.cache.options if isinstance(self.cache, GenerationCache) else None

    @contextmanager
    def entered(self, model: PreTrainedModel) -> Iterator[None]:
        """A model that `put` gave back, with what it reads from its cache rounded in every pass while entered."""
        if self.cache is not None:
            self.cache.check(model)
        with self.cache.entered(model) if isinstance(self.cache, CacheProbe) else nullcontext():
            yield

    @property
    def calibrates(self) -> bool:
        """Whether `put` needs text to calibrate on."""
        return self.method is not None and self.method.calibrates

    @property
    def streams(self) -> bool:
        """Whether the model can be measured with one layer's weights in memory at a time."""
        return self.method is None or (isinstance(self.method, Method) and self.method.streams)

    @property
    def held_as(self) -> str | None:
        """How memory holds the weights, of `names.QUANTIZATIONS`; None where they are held unquantized."""
        return self.method.held_as if isinstance(self.method, Method) else None

    def refuse(self, *, stream: bool = False, backward: bool = False) -> None:
        """Refuses what the method cannot do.

        Args:
            stream: whether one layer's weights at a time are wanted.
            backward: whether gradients are.

        Raises:
            RequestError: naming the field to change.
        """
        if self.cache is not None and (stream or backward):
            raise RequestError(f"`quantize={self.name}` rounds the cache, which is neither streamed nor differentiated")
        if stream and not self.streams:
            raise RequestError(
                f"`quantize={self.name}` is put on a model in memory, and `stream` holds one layer of it: leave out "
                "`stream` (`gradient_checkpointing` holds one layer's activations)"
            )
        why = self.method.no_gradient if isinstance(self.method, Method) else ""
        if backward and why:
            raise RequestError(f"no gradient passes through {self.name}, {why}: use `backward=False`")

    def load(
        self,
        *,
        stream: bool = False,
        device: str | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        resolved: Resolved | None = None,
    ) -> Loaded:
        """Loads the model, quantized already where the library does that while loading.

        Args:
            stream: as of `load_model`.
            device: instead of the source's.
            tokenizer: as of `load_model`.
            resolved: as of `load_model`.

        Raises:
            SinkscopeError: for every reason not to load, in one line.
        """
        source = self.source
        if self.name is not None:
            resolved = resolved or resolve(source.name, source.revision, source.gguf_file)
            if resolved.quantization is not None:
                raise SinkscopeError(
                    f"{source.name} is quantized already ({resolved.quantization}): leave out `quantize`, or name the "
                    "full-precision model that it was made from"
                )
        while_loading = self._method if self._method in QUANTIZATIONS else None
        plain = replace(source, quantize=while_loading)
        return load_named(plain, stream=stream, device=device, tokenizer=tokenizer, resolved=resolved)

    def put(
        self,
        loaded: Loaded,
        calibration: CalibrationText | None = None,
        *,
        backward: bool = False,
        again: Callable[[PreTrainedModel], object] = lambda _: None,
    ) -> Loaded:
        """Puts the method on a model that `load` gave.

        Args:
            loaded: the model; where a library loads the quantized one itself, its weights are given back first.
            calibration: the text, where the method calibrates.
            backward: whether gradients are going to be measured.
            again: what else was done to the model in memory, for one that is loaded anew.

        Raises:
            SinkscopeError: if the model cannot be quantized so.
        """
        method, model = self.method, loaded.model
        if backward and loaded.quantization == METHOD and rounds_inputs(model):
            raise RequestError(
                f"no gradient passes through {loaded.name}, which {METHOD} stores with rounded activations: use "
                "`backward=False`"
            )
        if self.name is None:
            return loaded
        if isinstance(method, Probe):
            places = method.places(model, self.options.modules)
            largest = None
            if calibration is not None:
                with explained_memory_errors(calibration.batch_size):
                    largest = calibrate(model, places, calibration.batches)
            probe_(model, method, largest, places)
        elif method is not None and method.put_ is not None:
            method.put_(model)
        elif method is not None and self._method not in QUANTIZATIONS:
            model = self._load_quantized(method, loaded, calibration)
            again(model)
        described = self._description(method, calibration, backward=backward, valved=bool(attached(model)))
        return replace(loaded, model=model, quantization=self.name, method=described)

    @property
    def _method(self) -> str:
        """The name of what is put on linear maps."""
        return split(self.source.quantize or NONE)[0]

    def _load_quantized(self, method: Method, loaded: Loaded, calibration: CalibrationText | None) -> PreTrainedModel:
        valved = bool(attached(loaded.model))
        source = replace(self.source, device=self.source.device if self.source.device_map else str(loaded.model.device))
        weights: nn.Module = loaded.model
        weights.to("meta")
        ids = None if calibration is None else calibration.input_ids
        model = method.load(LoadRequest.of(source, self.options, ids, loaded.tokenizer)).model
        if valved and not attached(model):
            raise SinkscopeError(f"{method.name} lost the V-scale of {loaded.name}")
        return model

    def _description(
        self, method: Probe | Method | None, calibration: CalibrationText | None, *, backward: bool, valved: bool
    ) -> dict[str, Any]:
        """What run.json says of the method beside its name."""
        described: dict[str, Any] = {
            "weight_bits": None if method is None else method.weight_bits,
            "activation_bits": None if method is None else method.activation_bits,
            "granularity": "; ".join(of.granularity for of in (method, self.cache) if of is not None),
            "modules": self.options.modules,
        }
        if isinstance(method, Method):
            versions = {method.package: metadata.version(method.package), **method.versions(self.options.environment)}
            described["library"] = ", ".join(f"{package} {version}" for package, version in versions.items())
        if isinstance(method, Method) and valved and method.vscale_note:
            described["note"] = method.vscale_note
        if calibration is not None:
            described["calibration"] = calibration.provenance
        if backward and isinstance(method, Probe):
            described["gradients"] = STRAIGHT_THROUGH if method.activation_bits else EXACT
        return described


def asked(source: ModelSource, options: MethodOptions | None = None, *, caches: bool = False) -> Under:
    """The method that a source names, looked up before anything is loaded.

    Args:
        source: the model.
        options: how the method is put on it.
        caches: whether methods that round the cache are taken.

    Raises:
        SinkscopeError: for an unknown name, a method whose package, GPU or environment is missing, or options that go
            with no method, or not with this one.
    """
    options = options or MethodOptions()
    check_options(source.dtype, None, source.device_map)
    name = NONE if source.quantize is None else canonical(source.quantize)
    source = source if source.quantize is None else replace(source, quantize=name)
    check_method(name, "quantize", caches=caches)
    of_maps, of_cache = split(name)
    method = method_of(of_maps)
    if isinstance(method, Method):
        check_modules(options.modules, [of_maps])
    cache = CacheProbe(of_cache) if isinstance(of_cache, CacheRounding) else None
    generation = GenerationCache(of_cache) if isinstance(of_cache, GeneratingCache) else None
    if generation is not None:
        generation.refuse()
    for field in ("modules", "calibration_data", "calibration_sequences"):
        needed = method is not None and (field == "modules" or method.calibrates)
        if getattr(options, field) is not None and not needed:
            lacks = "calibrate" if method is not None or field != "modules" else "round linear modules"
            what = "there is none" if name == NONE else f"{name} does not {lacks}"
            raise RequestError(f"`{field}` is for a method that `quantize` names, and {what}: leave it out")
    choose([of_maps], allow_install=options.allow_install, environment=options.environment)
    return Under(source, options, method, cache or generation)
