"""A model by name: a folder, an id on the Hugging Face Hub, or the packaged demo.

Loading is strict where the libraries are lenient, because a number measured on half a model looks like any other:
weights come from safetensors alone, every weight of the architecture must be in them, and an architecture whose sites
are not mapped is refused before a single weight is read.
"""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.compat.bitsandbytes_modules import repair_
from sinkscope.compat.gguf_reading import unpacked
from sinkscope.compat.stored_quantization import expanded_fp8
from sinkscope.errors import RequestError, SinkscopeError, first_line
from sinkscope.inputs import ModelSource
from sinkscope.keywords import ModelFields, listing, refuse_unknown
from sinkscope.loading.adapter import adapter_sha256, check_adapter, merge_adapter_
from sinkscope.loading.compressed import METHOD, unpack_, without_bars
from sinkscope.loading.deviations import DEQUANTIZED, FRESH, HEAD, RESHAPED, Deviation
from sinkscope.loading.device import usable_device
from sinkscope.loading.gguf_file import Gguf
from sinkscope.loading.gguf_tokenizer import gguf_tokenizer, refuse_without_tokenizer
from sinkscope.loading.model_folder import CONFIG, weight_files
from sinkscope.loading.model_hash import model_sha256
from sinkscope.loading.named import model_source
from sinkscope.loading.quantizer import EXPANDED, quantizer, stored_dtype
from sinkscope.loading.quiet import quiet
from sinkscope.loading.resolve import Located, Resolved, locate, resolve
from sinkscope.loading.streamed import Postponed, StreamedWeights, own_head, postponed_loading
from sinkscope.loading.unpacked_folder import unpacked_folder
from sinkscope.loading.weights import load_weights
from sinkscope.names import ADAPTERS, DEVICE_MAPS, DTYPES, QUANTIZATIONS
from sinkscope.terminal import logger
from sinkscope.vscale.attach import attached
from sinkscope.vscale.saved import load_into_

_log = logger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model ready to be measured, with its provenance.

    Attributes:
        model: in eval mode.
        tokenizer: its tokenizer.
        name: as the user gave it.
        revision: commit hash on the Hub; None for a folder.
        weights_sha256: as of `loading.resolve.Resolved`.
        quantization: the quantization method that it is under, that of an already quantized checkpoint, or None.
        vscale: variant of the V-scale that was attached, or None.
        checkpoint_dtype: dtype of the stored weights, by the name of torch, whatever they were loaded as.
        weights: brings the weights into memory part by part, where the model is a skeleton without them; else None.
        gguf: the GGUF file that the model was in, or None.
        method: what run.json says of the quantization method beside its name, or None.
        sha256: hash of all that the model is made of (`loading.model_hash`).
        deviations: where the model is not what its files hold.
        adapter_sha256: hash of the adapter that was merged into the weights, or None.
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
    gguf: Gguf | None = None
    method: dict[str, Any] | None = None
    sha256: str | None = None
    deviations: tuple[Deviation, ...] = ()
    adapter_sha256: str | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What loading knows about the model, as run.json records it."""
        known = ("name", "revision", "weights_sha256", "sha256", "quantization")  # V-scale is seen on the model itself
        found = {key: getattr(self, key) for key in known}
        if self.adapter_sha256 is not None:
            found["adapter_sha256"] = self.adapter_sha256
        if self.deviations:
            found["deviations"] = [deviation.as_json() for deviation in self.deviations]
        if self.method is not None:
            found["method"] = self.method
        if self.gguf is None:
            return found
        return {
            **found,
            "gguf": {"file": self.gguf.file, "sha256": self.weights_sha256, "tensors": self.gguf.header.types},
        }


def load_model(
    name: str,
    *,
    revision: str | None = None,
    gguf_file: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    quantize: str | None = None,
    trust_remote_code: bool = False,
    adapter: str = "refuse",
    allow_deviations: bool = False,
    stream: bool = False,
    tokenizer: PreTrainedTokenizerBase | None = None,
    resolved: Resolved | None = None,
) -> Loaded:
    """Loads a causal language model and its tokenizer.

    Args:
        name: one of `names.PACKAGED`, a local folder (`./demo` is one too), a GGUF file, or a model id of the Hugging
            Face Hub. A folder with a vscale.json yields its model with V-scale attached.
        revision: branch, tag or commit of a Hub model.
        gguf_file: name of the GGUF file, in the folder or the Hub's repository, that the model is in.
        dtype: one of `names.DTYPES`; `auto` keeps the checkpoint's, and is float32 for a GGUF file, which is unpacked.
        device: `auto` (the first CUDA device, else the CPU) or a torch device.
        device_map: one of `names.DEVICE_MAPS`, to spread the model over several devices; instead of `device`.
        quantize: one of `names.QUANTIZATIONS`, weights quantized by bitsandbytes while loading.
        trust_remote_code: allow code that comes with the model to run.
        adapter: one of `names.ADAPTERS`, for a peft adapter beside the weights.
        allow_deviations: load a model whose weights and configuration disagree, as far as they go together.
        stream: load a skeleton, whose weights `Loaded.weights` brings part by part, for the layer-by-layer driver.
        tokenizer: take this one, and ask the model for none.
        resolved: what `resolve` made of `name` and `revision`, where that is known already.

    Raises:
        SinkscopeError: for every reason not to load, in one line.
    """
    check_options(dtype, quantize, device_map)
    _one_of("`adapter`", adapter, ADAPTERS)
    if device_map is not None and device != "auto":
        raise RequestError("`device` and `device_map` exclude each other")
    if device_map is not None and stream:
        raise RequestError("`stream` works on one device: leave out `device_map`")
    placement: Any = device_map or {"": usable_device(device)}
    resolved = resolved or resolve(name, revision, gguf_file)
    if resolved.unsupported is not None:
        raise resolved.unsupported
    if resolved.gguf is not None:
        _check_gguf(name, stream=stream)
    sha256 = resolved.weights_sha256
    if resolved.revision is not None and resolved.gguf is None and resolved.pinning.get("local_files_only"):
        weight_files(resolved.folder, resolved.origin)  # of the cache, which may hold a part of them
    stored = resolved.quantization
    if quantize and stored:
        raise SinkscopeError(f"{name} is quantized already ({stored}): leave out `quantize`")
    if stream and stored:
        raise RequestError(
            f"{name} is stored quantized ({stored}), and `stream` reads full-precision weights, which "
            "it can quantize on the way (`quantize=nf4|int8`): leave out `stream`"
        )
    left_out = check_adapter(resolved, adapter, held_whole=not (stream or quantize or stored))
    arguments: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if stored in EXPANDED and device_map is None and placement[""].type != "cuda":
        arguments |= expanded_fp8()
        why = f"{stored} weights were expanded while they were read, and activations are not rounded"
        left_out.append(Deviation(DEQUANTIZED, why, (), allowed=False))
    with quiet(bars=resolved.revision is not None and sys.stderr.isatty()):
        tokenizer = tokenizer or _read_tokenizer(resolved, trust_remote_code=trust_remote_code)
        arguments |= {"dtype": dtype, "device_map": placement}
        if resolved.gguf is not None:
            arguments |= {"dtype": "float32" if dtype == "auto" else dtype, **({} if quantize else unpacked())}
        if quantize:  # the argument, even if None, would replace the configuration of a quantized checkpoint
            compute_dtype = stored_dtype(resolved.config) if dtype == "auto" else dtype
            arguments["quantization_config"] = quantizer(quantize, compute_dtype)
        packed = quantize is not None and resolved.gguf is not None
        source = unpacked_folder(resolved) if packed else nullcontext(resolved)
        bars = without_bars(wanted=stored == METHOD and resolved.revision is None)  # those of a download stay
        with postponed_loading(wanted=stream) as postponed, source as read, bars:
            model, found = load_weights(read, {**read.pinning, **arguments}, allow=allow_deviations)
    if stream and any(deviation.kind in (FRESH, RESHAPED) for deviation in found):
        raise RequestError(f"weights of {name} are not all stored, and `stream` draws none: leave out `stream`")
    found += _head(model, postponed[0] if stream else None)
    weights = StreamedWeights(postponed[0], placement[""]) if stream else None
    if not stream and (quantize == "nf4" or stored == "bitsandbytes"):
        repair_(model)
    if stored == METHOD:
        unpack_(model.eval())
    digest = None
    if resolved.adapter and adapter == "merge":
        with quiet():
            model = merge_adapter_(model, resolved.folder, name)
        digest = adapter_sha256(resolved.folder)
    vscale = resolved.vscale
    if vscale is not None:
        load_into_(model, vscale.folder, vscale.info)
        for valve in attached(model) if stream else ():
            valve.to(placement[""])
    return Loaded(
        model.eval(),
        tokenizer,
        name,
        resolved.revision,
        sha256,
        quantize or stored,
        vscale.info["variant"] if vscale is not None else None,
        stored_dtype(resolved.config),
        weights,
        resolved.gguf,
        sha256=resolved.sha256 if digest is None else model_sha256({**resolved.parts, "adapter": digest}),
        deviations=(*left_out, *found),
        adapter_sha256=digest,
    )


def load_named(
    source: ModelSource,
    *,
    stream: bool = False,
    device: str | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    resolved: Resolved | None = None,
) -> Loaded:
    """Loads the model that a source names: `load_model` with its fields.

    Args:
        source: the model.
        stream: as of `load_model`.
        device: instead of the source's.
        tokenizer: as of `load_model`.
        resolved: as of `load_model`.
    """
    return load_model(
        source.name,
        revision=source.revision,
        gguf_file=source.gguf_file,
        dtype=source.dtype,
        device=source.device if device is None else device,
        device_map=source.device_map,
        quantize=source.quantize,
        trust_remote_code=source.trust_remote_code,
        adapter=source.adapter,
        allow_deviations=source.allow_deviations,
        stream=stream,
        tokenizer=tokenizer,
        resolved=resolved,
    )


def check_named(source: ModelSource) -> None:
    """Finds out that a model cannot be loaded, before hours go by with another one; no weights are read.

    Args:
        source: the model.

    Raises:
        SinkscopeError: if it is nowhere, is no whole model, or one that cannot be measured.
    """
    resolved = resolve(source.name, source.revision, source.gguf_file)
    if resolved.unsupported is not None:
        raise resolved.unsupported
    check_adapter(resolved, source.adapter, held_whole=source.quantize is None and resolved.quantization is None)
    if resolved.gguf is not None:
        refuse_without_tokenizer(resolved.gguf.path, resolved.origin)
    elif resolved.revision is None:
        weight_files(resolved.folder, resolved.origin)


def check_options(dtype: str, quantize: str | None, device_map: str | None) -> None:
    """Refuses what `load_model` has no such choice of.

    Raises:
        SinkscopeError: naming the choices.
    """
    _one_of("`dtype`", dtype, DTYPES)
    if quantize is not None and quantize not in QUANTIZATIONS:
        raise RequestError(
            f"`quantize={quantize}` is none of {', '.join(QUANTIZATIONS)}, the methods that loading knows: others are "
            "for verbs that measure a model, and sinkscope.quantization.probed puts a probe on a loaded one"
        )
    _one_of("`device_map`", device_map, (None, *DEVICE_MAPS))


@listing(ModelSource)
def load(model: str | Path | ModelSource, **loading: Unpack[ModelFields]) -> PreTrainedModel:
    """Loads a model, with its V-scale where it has one.

    Args:
        model: `demo`, `demo-vscale`, a local folder (with base weights, or an adapter), a GGUF file, a Hub id,
            or a `ModelSource`.
        **loading: the other fields of `ModelSource` (revision, dtype, device, ...).

    Returns:
        The transformers model in eval mode.
    """
    refuse_unknown(loading, ModelFields, load)
    source, _ = model_source(model, loading)
    return load_named(source).model


def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Loads a tokenizer alone.

    Args:
        name: one of `names.PACKAGED`, a local folder, a GGUF file, or a model id of the Hugging Face Hub.
        trust_remote_code: allow code that comes with it to run.

    Raises:
        SinkscopeError: if there is none.
    """
    located = locate(name)
    with quiet():
        return _read_tokenizer(located, trust_remote_code=trust_remote_code)


def _head(model: PreTrainedModel, postponed: Postponed | None) -> list[Deviation]:
    """Has the head that is stored, where config.json says that the head is the embedding and it is another one."""
    if not getattr(model.config, "tie_word_embeddings", False):
        return []
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    other = own_head(postponed) if postponed is not None else head is not None and head.weight is not embedding.weight
    if not other:
        return []
    model.config.tie_word_embeddings = False
    name = next(name for name, module in model.named_modules() if module is head)
    why = f"{CONFIG} says that the head is the embedding, and the stored head is another one: it is used"
    _log.warning("%s: %s", model.config.name_or_path, why)
    return [Deviation(HEAD, why, (f"{name}.weight",), allowed=False)]


def _check_gguf(name: str, *, stream: bool) -> None:
    """Refuses to read a GGUF file layer by layer.

    Raises:
        RequestError: saying what can be done.
    """
    if stream:
        raise RequestError(
            f"{name} is a GGUF file, and `stream` reads safetensors: leave it out, or save the model as a folder "
            "first (docs/gguf.md)"
        )


def _read_tokenizer(located: Located, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    if located.gguf_path is not None:
        return gguf_tokenizer(located.gguf_path, located.origin)
    missing = f"{located.name} has no usable tokenizer: it needs a tokenizer.json, as tokenizer.save_pretrained writes"
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            located.location, trust_remote_code=trust_remote_code, **located.pinning
        )
    except Exception as error:  # the tokenizers library knows no narrower class: it raises bare Exception
        raise SinkscopeError(f"{missing} ({first_line(error)})") from error
    # Without vocabulary files some tokenizer classes come back empty instead of failing.
    if not tokenizer("attention", add_special_tokens=False)["input_ids"]:
        raise SinkscopeError(missing)
    return tokenizer


def _one_of(option: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        named = ", ".join(choice for choice in choices if choice is not None)
        raise RequestError(f"{option} is one of {named}, not {value}")
