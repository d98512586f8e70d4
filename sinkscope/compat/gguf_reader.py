"""The package gguf's reader of GGUF files, made to read a large vocabulary in a fraction of a second.

A header holds lists with an entry for every token: its text, its score, its kind. `gguf.GGUFReader` takes each entry
out of the file by several calls of numpy's class for mapped files, which is slow to slice: 13 seconds for a vocabulary
of 262,144 tokens. `Reader` is gguf's with one method overridden. It takes a list as a whole, and its entries are plain
views of the same types, shapes and values.

Needed: how `GGUFReader` takes a list apart (`_get_field_parts`, `_get`).

Public alternative: none. The package is optional, so this module is imported where it is known to be there.
"""

import sys
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType

_Part = np.ndarray[Any, Any]
_LENGTH = 8
"""Bytes of the length that stands before a string."""


class Reader(GGUFReader):
    """gguf's reader, which takes lists as a whole."""

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[_Part], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        kind, number = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
        start, count = orig_offs + kind.nbytes + number.nbytes, int(number[0])
        if count == 0 or kind[0] == GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        types = [GGUFValueType.ARRAY, GGUFValueType(kind[0])]
        if types[1] == GGUFValueType.STRING:
            entries, end = self._strings(start, count)
            data = range(3, 2 + len(entries), 2)  # each string has two parts, its length and its letters
        else:
            values = np.asarray(self._get(start, self.gguf_scalar_to_np[types[1]], count))
            if len(values) < count:
                raise ValueError(f"a list of {count} numbers ends beyond the file")
            entries, end = list(values.reshape(count, 1)), start + values.nbytes
            data = range(2, 2 + count)
        return end - orig_offs, [kind, number, *entries], list(data), types

    def _strings(self, start: int, count: int) -> tuple[list[_Part], int]:
        """Strings that lie one after another, each as its length and its letters, and where they end."""
        mapped = np.asarray(self.data)
        whole = memoryview(mapped)  # type: ignore[arg-type]  # numpy's types do not say so before Python 3.12
        little = (sys.byteorder == "little") == (self.byte_order == "I")
        lengths_are = np.dtype(np.uint64).newbyteorder(self.byte_order)
        parts: list[_Part] = []
        for _ in range(count):
            letters = start + _LENGTH
            end = letters + int.from_bytes(whole[start:letters], "little" if little else "big")
            if end > len(whole):
                raise ValueError(f"a list of {count} strings ends beyond the file")
            parts += mapped[start:letters].view(lengths_are), mapped[letters:end]
            start = end
        return parts, start
