"""What is kept for another process is what was written, or it is named."""

import json
from pathlib import Path

import pytest

from sinkscope.files.sealed import (
    DamagedError,
    check_hashes,
    check_seal,
    content_hash,
    hashes,
    read_sealed,
    seal,
    write_sealed,
)

CONTENT = {"a": [1, 2.5, None], "b": {"x": "y"}, "sha256": "of something else"}


def test_an_object_comes_back_and_every_damage_is_seen(tmp_path: Path) -> None:
    place = tmp_path / "note.json"
    assert read_sealed(place) is None
    write_sealed(place, CONTENT)
    assert read_sealed(place) == CONTENT
    whole = place.read_text()
    other = json.dumps({**json.loads(whole), "more": 1})
    deep = "[" * 100_000
    for damaged in ("", "{", "[]", "3", "null", '"x"', deep, whole[:-1], whole.replace("2.5", "2.6"), other):
        place.write_text(damaged)
        with pytest.raises(DamagedError, match=r"note\.json is damaged.*: start anew"):
            read_sealed(place, "start anew")
    place.write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedError):
        read_sealed(place)


@pytest.mark.parametrize("content", [b"", b"x", bytes(3 << 20)])
def test_a_file_ends_in_its_hash(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "state"
    file.write_bytes(content)
    with pytest.raises(DamagedError):
        check_seal(file)
    seal(file)
    check_seal(file)
    whole = file.read_bytes()
    assert whole.startswith(content)
    for damaged in (whole[:-1], whole + b"x", b"y" + whole[1:], whole[len(content) // 2 + 1 :]):
        file.write_bytes(damaged)
        with pytest.raises(DamagedError):
            check_seal(file)


def test_a_folder_is_known_by_the_hashes_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("a", "inner/b"):
        (tmp_path / name).write_text(name)
    known = hashes(tmp_path)
    assert list(known) == ["a", "inner/b"]
    check_hashes(tmp_path, known)
    (tmp_path / "inner" / "b").write_text("c")
    with pytest.raises(DamagedError, match="inner/b is damaged"):
        check_hashes(tmp_path, known)
    (tmp_path / "inner" / "b").unlink()
    with pytest.raises(DamagedError, match="inner/b is damaged"):
        check_hashes(tmp_path, known)


def test_a_hash_of_content_is_that_of_any_order() -> None:
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) != content_hash({"a": 1, "b": 3})
