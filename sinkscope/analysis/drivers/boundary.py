"""The states between layers that a layer-by-layer analysis keeps.

They are what went into each layer, and the gradient on its way back: all that is held of a whole forward pass, in
memory or, for more tokens than memory has room for, on disk (`spilled`).
"""

from typing import Protocol

from torch import Tensor

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

    def leave(self) -> None:
        """Ends here; what another process can go on from stays."""


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

    def leave(self) -> None:
        """Ends here: memory is gone with the process."""
        self.close()
