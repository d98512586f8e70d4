"""The header of a GGUF file, through the package gguf: the facts of the model, and which tensors are stored how."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sinkscope.errors import RequestError, SinkscopeError, first_line

_MAGIC = b"GGUF"
SCALED_ROTATION = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that scale rotary positions; a configuration says the same in words."""
UNREADABLE = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, TypeError, ValueError)
"""What readers raise over bytes that make no sense."""


@dataclass(frozen=True)
class Header:
    """What stands before a GGUF file's tensors.

    Attributes:
        facts: single values by key; of a list, as the vocabulary, its length.
        names: of the tensors.
        types: how many tensors are stored in each type, by the type's name, most frequent first.
        numbers: how many numbers the tensors hold, those aside that scale rotary positions, which no model stores.
    """

    facts: Mapping[str, Any]
    names: frozenset[str]
    types: dict[str, int]
    numbers: int


def read_header(path: Path, name: str) -> Header:
    """Reads a file's header; the tensors must lie in the file, and are not read.

    Args:
        path: the file.
        name: the model as the user named it.

    Raises:
        SinkscopeError: if the package gguf is not installed, or the file is not whole.
    """
    try:
        import gguf  # noqa: F401  (asked for here, so that what is missing is told apart from what cannot be read)
    except ImportError as error:
        raise RequestError(
            f"{name} is a GGUF file, which needs the package gguf: pip install 'sinkscope[gguf]'"
        ) from error
    try:
        about = path.stat()
        with path.open("rb") as stream:
            begin = stream.read(len(_MAGIC))
        if begin != _MAGIC[: len(begin)]:
            raise SinkscopeError(f"{name} is no GGUF file: it does not begin as one does")
        return _read(path, about.st_size, about.st_mtime_ns)
    except UNREADABLE as error:
        raise SinkscopeError(
            f"{name} is not a whole GGUF file ({first_line(error)}): copy or download it again"
        ) from error


@lru_cache(maxsize=4)  # a verb comes by it several times
def _read(path: Path, _size: int, _time: int) -> Header:
    from gguf import GGUFValueType

    from sinkscope.compat.gguf_reader import Reader

    reader = Reader(path)
    facts = {
        key: len(field.data) if field.types[:1] == [GGUFValueType.ARRAY] else field.contents()
        for key, field in reader.fields.items()
    }
    types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    return Header(
        facts,
        frozenset(tensor.name for tensor in reader.tensors),
        dict(types.most_common()),
        sum(int(tensor.n_elements) for tensor in reader.tensors if tensor.name not in SCALED_ROTATION),
    )
