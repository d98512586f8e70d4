"""A model of which only a part's weights are in memory at a time.

transformers builds every model on the meta device first and fills it from safetensors afterwards. Here it stops
between the two: what it would do with the files (names converted, experts merged, weights cast or quantized, put on a
device) is kept, and done later for one part at a time by the same function. Parts are the decoder layers, what comes
before them and what comes after. On a CPU, weights that need no conversion stay memory-mapped: they cost pages of the
file's cache, and of the embedding only the rows that are looked up.
"""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from sinkscope.compat.bitsandbytes_modules import forget_quantized_, repair_
from sinkscope.compat.module_tensors import restored_tensors
from sinkscope.compat.postponed_loading import LoadStateDictConfig, convert_and_load_, loading_replaced, renaming
from sinkscope.errors import SinkscopeError
from sinkscope.loading.quiet import quiet
from sinkscope.models.families import family_of

EMBEDDING, HEAD = "embedding", "head"
Part = int | str  # a decoder layer, or one of the two above


class Weights(Protocol):
    """Brings a model's weights into memory, part by part."""

    device: torch.device

    @contextmanager
    def loaded(self, part: Part, following: Part | None = None) -> Iterator[None]:
        """Has a part's weights in memory inside the `with` block.

        Args:
            part: a decoder layer, `EMBEDDING` or `HEAD`.
            following: the part that will be asked for next.
        """


class Held:
    """The weights of a model that is in memory as a whole.

    Args:
        model: the model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.device = next(model.parameters()).device

    @contextmanager
    def loaded(self, part: Part, following: Part | None = None) -> Iterator[None]:  # noqa: ARG002  (as the protocol has it)
        """Does nothing: everything is there."""
        yield


@dataclass
class Postponed:
    """What transformers was about to load when it was stopped.

    Attributes:
        model: its skeleton on the meta device.
        files: the safetensors files.
        config: how transformers would load them.
    """

    model: PreTrainedModel
    files: list[str]
    config: LoadStateDictConfig

    @cached_property
    def places(self) -> dict[str, tuple[str, str]]:
        """By stored name the parameter that it becomes (a part of), and the file; what has no place is left out."""
        rename, names = renaming(self.model, self.config), self.model.state_dict()
        found = {}
        for file in self.files:
            for key in _keys(file):
                renamed = rename(key)
                if renamed in names or key in names:
                    found[key] = (renamed if renamed in names else key, file)
        return found


@contextmanager
def postponed_loading(*, wanted: bool = True) -> Iterator[list[Postponed]]:
    """Inside, `from_pretrained` returns skeletons; what it checks about names and shapes is checked all the same.

    Args:
        wanted: False leaves loading as it is.

    Yields:
        A list that receives what was not loaded.
    """
    stopped: list[Postponed] = []

    def stop(model: PreTrainedModel, files: list[str], config: LoadStateDictConfig) -> Any:
        stopped.append(Postponed(model, files, config))
        # The same conversion over tensors without contents reports what is missing, mismatched or left over.
        empty = {key: _without_contents(file, key) for file in files for key in _keys(file)}
        with restored_tensors(model):
            return convert_and_load_(model, empty, config, "meta", quantize=False)

    if not wanted:
        yield stopped
        return
    with loading_replaced(stop):
        yield stopped


class StreamedWeights:
    """The weights of a skeleton, from its files.

    Args:
        postponed: what was not loaded.
        device: where parts are loaded to.
    """

    def __init__(self, postponed: Postponed, device: torch.device) -> None:
        self.device = device
        self.model = postponed.model
        self._config = postponed.config
        self._tied = bool(_tied(postponed))
        self._parts = _sources(postponed)
        self._reader = ThreadPoolExecutor(max_workers=1)
        self._reading: Future[None] | None = None

    @contextmanager
    def loaded(self, part: Part, following: Part | None = None) -> Iterator[None]:
        """Has a part's weights in memory inside the `with` block.

        Args:
            part: a decoder layer, `EMBEDDING` or `HEAD`.
            following: a part whose files are read ahead into the file cache meanwhile.

        Raises:
            SinkscopeError: if a file cannot be read any more.
        """
        with restored_tensors(self.model):
            try:
                self._load(part)
                if following is not None:
                    self._read_ahead(following)
                yield
            finally:
                for module in self.model.modules() if self._config.is_quantized else ():
                    forget_quantized_(module)

    def _load(self, part: Part) -> None:
        try:
            with quiet():
                tensors = {key: _tensor(file, key) for key, file in self._parts[part].items()}
                convert_and_load_(self.model, tensors, self._config, self.device)
                if part == HEAD and self._tied:
                    self.model.tie_weights()
        except OSError as error:
            raise SinkscopeError(f"the weights cannot be read any more: {error}") from error
        if self._config.is_quantized:
            repair_(self.model)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)

    def _read_ahead(self, part: Part) -> None:
        """Asks the operating system to read a part's bytes; without such a call it reads them when they are used."""
        if self._reading is None or self._reading.done():
            self._reading = self._reader.submit(_read_ahead, self._parts[part])


def _sources(postponed: Postponed) -> dict[Part, dict[str, str]]:
    """Which stored tensors each part is made of: name and file, by part; those without a place are in none."""
    model = postponed.model
    part_of = _part_namer(model)
    head_too = _tied(postponed)
    parts: dict[Part, dict[str, str]] = {EMBEDDING: {}, HEAD: {}}
    parts |= {layer: {} for layer in range(len(family_of(model).decoder_layers(model)))}
    for key, (name, file) in postponed.places.items():
        parts[part_of(name)][key] = file
        if name in head_too:
            parts[HEAD][key] = file
    return parts


def _part_namer(model: PreTrainedModel) -> Callable[[str], Part]:
    """Tells the part of a parameter by its name."""
    family = family_of(model)
    layers = f"{family.layers}."
    head = {name for name, module in model.named_modules() if module is model.get_output_embeddings()}
    after = tuple(f"{name}." for name in (*head, family.final_norm, family.projection) if name is not None)

    def part_of(name: str) -> Part:
        if name.startswith(layers):
            return int(name.removeprefix(layers).split(".", 1)[0])
        return HEAD if name.startswith(after) else EMBEDDING

    return part_of


def _tied(postponed: Postponed) -> set[str]:
    """Names under which a tied head's weight may be stored with the embedding; none where the head has its own."""
    model = postponed.model
    head, embedding = (
        {f"{name}.weight" for name, module in model.named_modules() if module is wanted}
        for wanted in (model.get_output_embeddings(), model.get_input_embeddings())
    )
    if not getattr(model.config, "tie_word_embeddings", False):
        return set()
    return set() if any(name in head for name, _ in postponed.places.values()) else embedding


def own_head(postponed: Postponed) -> bool:
    """Whether the head is stored beside the embedding and is another matrix, whatever the configuration says."""
    model = postponed.model
    stored: list[torch.Tensor] = []
    for wanted in (model.get_output_embeddings(), model.get_input_embeddings()):
        names = {f"{name}.weight" for name, module in model.named_modules() if module is wanted}
        stored += [_tensor(file, key) for key, (name, file) in postponed.places.items() if name in names]
    return len(stored) == 2 and not torch.equal(*stored)


def _keys(file: str) -> list[str]:
    with safe_open(file, framework="pt") as opened:
        return list(opened.keys())


def _without_contents(file: str, key: str) -> torch.Tensor:
    """A tensor on the meta device with the shape and dtype of a stored one."""
    header, _ = _header(file)
    return torch.empty(header[key]["shape"], dtype=_DTYPES[header[key]["dtype"]], device="meta")


def _tensor(file: str, key: str) -> torch.Tensor:
    """A stored tensor, memory-mapped. Each has a mapping of its own, which goes with the tensor."""
    with safe_open(file, framework="pt") as opened:
        tensor: torch.Tensor = opened.get_tensor(key)
    return tensor


_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def _header(file: str) -> tuple[dict[str, Any], int]:
    """A safetensors file's header (shapes, dtypes and offsets by name), and where its data begin."""
    with Path(file).open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        return json.loads(stream.read(length)), 8 + length


def _read_ahead(sources: dict[str, str]) -> None:
    if not hasattr(os, "posix_fadvise"):
        return
    for file in set(sources.values()):
        header, begin = _header(file)
        with Path(file).open("rb") as stream:
            for key in sources:
                if key in header:
                    start, stop = header[key]["data_offsets"]
                    os.posix_fadvise(stream.fileno(), begin + start, stop - start, os.POSIX_FADV_WILLNEED)


def skeleton_of(model: nn.Module) -> bool:
    """Whether a model's weights are not in memory."""
    return any(parameter.is_meta for parameter in model.parameters())
