"""The states between layers that a layer-by-layer analysis keeps.

They are what went into each layer, and the gradient on its way back: all that is held of a whole forward pass, in
memory or, for more tokens than memory has room for, on disk.
"""

import tempfile
from pathlib import Path
from typing import Protocol

from safetensors.torch import load_file, save_file
from torch import Tensor

from sinkscope.errors import SinkscopeError

Key = tuple[str, int, int]  # what, layer, micro-batch


class Boundary(Protocol):
    """A store of tensors by what they are, layer and micro-batch; they come back on the CPU."""

    def put(self, key: Key, x: Tensor) -> None:
        """Keeps a tensor."""

    def get(self, key: Key) -> Tensor:
        """A kept tensor."""

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

    def drop(self, key: Key) -> None:
        """Forgets a tensor; nothing where there is none."""
        self._kept.pop(key, None)

    def close(self) -> None:
        """Forgets everything."""
        self._kept.clear()


class OnDisk:
    """Boundary states as files in a temporary folder.

    Args:
        folder: where that folder is made; it must exist or be makeable, on a disk with room.

    Raises:
        SinkscopeError: if it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._temporary = tempfile.TemporaryDirectory(prefix="sinkscope-", dir=folder)
        except OSError as error:
            raise SinkscopeError(f"cannot write to {folder}: {error.strerror}", exit_code=2) from error
        self._folder = Path(self._temporary.name)

    def put(self, key: Key, x: Tensor) -> None:
        """Keeps a tensor.

        Raises:
            SinkscopeError: if the disk is full.
        """
        try:
            save_file({"x": x.detach().to("cpu").contiguous()}, self._file(key))
        except Exception as error:  # safetensors raises its own class for a full disk
            raise SinkscopeError(f"cannot write boundary states to {self._folder.parent}: {error}") from error

    def get(self, key: Key) -> Tensor:
        """A kept tensor, memory-mapped."""
        return load_file(self._file(key))["x"]

    def drop(self, key: Key) -> None:
        """Forgets a tensor; nothing where there is none."""
        self._file(key).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the folder."""
        self._temporary.cleanup()

    def _file(self, key: Key) -> Path:
        what, layer, batch = key
        return self._folder / f"{what}-{layer}-{batch}.safetensors"
