from pathlib import Path
from typing import Any

import ggufs
from gguf import GGUFEndian, GGUFReader, GGUFWriter
from upstream import moved, require

HOME = "gguf_reader"


def _every_kind_of_list(writer: GGUFWriter) -> None:
    writer.add_array("a.integers", [3, -1, 2])
    writer.add_array("a.numbers", [0.5, 1e9])
    writer.add_array("a.flags", [True, False])
    writer.add_array("a.texts", ["", "ab", "\u00e9\u2581", "x" * 300])
    writer.add_string("a.text", "alone")


def test_what_is_relied_on(tmp_path: Path) -> None:
    require("gguf:GGUFReader._get_field_parts", HOME, "self", "orig_offs", "raw_type")
    require("gguf:GGUFReader._get", HOME, "self", "offset", "dtype", "count")
    from sinkscope.compat.gguf_reader import Reader

    path = ggufs.write(tmp_path / "a.gguf", _every_kind_of_list)
    _check_same(GGUFReader(path), Reader(path))


def test_of_the_other_byte_order(tmp_path: Path) -> None:
    from sinkscope.compat.gguf_reader import Reader

    path = tmp_path / "a.gguf"
    writer = GGUFWriter(path, "llama", endianess=GGUFEndian.BIG)
    _every_kind_of_list(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    usual = GGUFReader(path)
    assert usual.byte_order == "S"
    _check_same(usual, Reader(path))


def _check_same(usual: GGUFReader, found: GGUFReader) -> None:
    what = moved("gguf", "its reader takes a header apart in another way", HOME)
    assert list(usual.fields) == list(found.fields), what
    for key, field in usual.fields.items():
        other = found.fields[key]
        assert (field.offset, field.data, field.types) == (other.offset, other.data, other.types), f"{key}: {what}"
        assert [_seen(part) for part in field.parts] == [_seen(part) for part in other.parts], f"{key}: {what}"
        assert field.contents() == other.contents(), f"{key}: {what}"
    assert usual.data_offset == found.data_offset, what
    for tensor, same in zip(usual.tensors, found.tensors, strict=True):
        assert (tensor.name, tensor.data_offset) == (same.name, same.data_offset), what
        assert _seen(tensor.data) == _seen(same.data), what


def _seen(part: Any) -> tuple[Any, ...]:
    return part.dtype, part.shape, part.tobytes()
