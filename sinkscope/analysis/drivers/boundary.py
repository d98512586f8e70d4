"""The states between layers that a layer-by-layer analysis keeps.

They are what went into each layer, and the gradient on its way back: all that is held of a whole forward pass, in
memory or, for more tokens than memory has room for, on disk.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import building_file

Key = tuple[str, int, int]  # what, layer, micro-batch


class Boundary(Protocol):
    """A store of tensors by what they are, layer and micro-batch; they come back on the CPU."""

    def put(self, key: Key, x: Tensor) -> None:
        """Keeps a tensor."""

    def get(self, key: Key) -> Tensor:
        """A kept tensor."""

    def has(self, key: Key) -> bool:
        """Whether a tensor is kept."""

    def drop(self, key: Key) -> None:
        """Forgets a tensor; nothing where there is none."""

    def close(self) -> None:
        """Forgets everything."""


class InMemory:
    """Boundary states in the process's memory."""

    def __init__(self) -> None:
        self._kept: dict[Key, Tensor] = {}

    def put(self, key: Key, x: Tensor) -> None:
        """Keeps a tensor."""
        self._kept[key] = x.detach().to("cpu")

    def get(self, key: Key) -> Tensor:
        """A kept tensor."""
        return self._kept[key]

    def has(self, key: Key) -> bool:
        """Whether a tensor is kept."""
        return key in self._kept

    def drop(self, key: Key) -> None:
        """Forgets a tensor; nothing where there is none."""
        self._kept.pop(key, None)

    def close(self) -> None:
        """Forgets everything."""
        self._kept.clear()


class OnDisk:
    """Boundary states as files in a folder of their own.

    Args:
        parent: where that folder is made; it must exist or be makeable, on a disk with room.
        name: of the folder: what an earlier process left in one of this name is still kept. By default a new one.

    Raises:
        SinkscopeError: if it cannot be made.
    """

    def __init__(self, parent: Path, name: str | None = None) -> None:
        self._outlives = name is not None  # another process may read what is in it
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="sinkscope-", dir=parent)) if name is None else parent / name
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RequestError(f"cannot write to {parent}: {error.strerror}") from error

    def put(self, key: Key, x: Tensor) -> None:
        """Keeps a tensor, whole or not at all.

        Raises:
            SinkscopeError: if the disk is full.
        """
        place = self._file(key)
        try:
            with building_file(place, sync=self._outlives) as building:
                save_file({"x": x.detach().to("cpu").contiguous()}, building)
        except (OSError, SafetensorError) as error:
            raise SinkscopeError(f"cannot write boundary states to {self.folder.parent}: {error}") from error

    def get(self, key: Key) -> Tensor:
        """A kept tensor, memory-mapped."""
        return load_file(self._file(key))["x"]

    def has(self, key: Key) -> bool:
        """Whether a tensor is kept."""
        return self._file(key).is_file()

    def drop(self, key: Key) -> None:
        """Forgets a tensor; nothing where there is none."""
        self._file(key).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, key: Key) -> Path:
        what, layer, batch = key
        return self.folder / f"{what}-{layer}-{batch}.safetensors"
