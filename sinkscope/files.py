"""Writing to disk so that whatever stands under its own name is whole.

A file or folder is built beside its place, under a hidden name, and then renamed. A process that fails or is killed on
the way leaves what stood there before. A rename alone does not survive a loss of power: it can reach the disk before
the content, and the name then stands for an empty file. So the content is put on the disk first (fsync), then the
rename, then the entry in the folder that holds it.

A folder cannot be renamed over one that has files in it. The old one is therefore moved aside and the new one moved in,
two renames one after the other: between them, and only there, neither stands. If the second fails, the old one is put
back; if the process is killed between the two, both lie whole beside the place, as `.NAME.PID.retired` and
`.NAME.PID.building`.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sinkscope.errors import SinkscopeError

_BUILDING, _RETIRED = "building", "retired"
_LEFTOVER = re.compile(rf"\..+\.\d+\.({_BUILDING}|{_RETIRED})")


@contextmanager
def building_file(place: Path, *, sync: bool = True) -> Iterator[Path]:
    """A path to write a file to, which takes its place when the block ends without an exception.

    Args:
        place: where the file belongs; its folder must exist.
        sync: whether it must survive a loss of power too; off for files that are of no use to another process.
    """
    building = _beside(place, _BUILDING)
    try:
        yield building
        move_into_place(building, place, sync=sync)
    finally:
        building.unlink(missing_ok=True)


@contextmanager
def building_folder(place: Path) -> Iterator[Path]:
    """A folder to fill, which takes its place, also that of an older one, when the block ends without an exception.

    Its permissions are those of any new folder.

    Args:
        place: where the folder belongs; missing parents are made.
    """
    with folder_beside(place) as building:
        yield building
        move_into_place(building, place)


@contextmanager
def folder_beside(place: Path) -> Iterator[Path]:
    """A folder to fill on the same disk as a place, removed when the block ends, with whatever is still in it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    building = _beside(place, _BUILDING)
    _remove(building)
    building.mkdir()
    try:
        yield building
    finally:
        _remove(building)


def move_into_place(built: Path, place: Path, *, sync: bool = True) -> None:
    """Gives a finished file or folder its name, in place of whatever has that name.

    Args:
        built: what is finished, on the same disk.
        place: where it belongs; the folder around it must exist.
        sync: whether it must survive a loss of power.
    """
    if sync:
        _sync(built)
    if place.is_dir():
        retired = _beside(place, _RETIRED)
        _remove(retired)
        place.rename(retired)
        try:
            built.rename(place)
        except BaseException:
            retired.rename(place)
            raise
        _remove(retired)
    else:
        built.replace(place)
    if sync:
        _sync_entry(place.parent)


def make_folders(folder: Path) -> list[Path]:
    """Makes a folder and what it lies in, where they are missing.

    Returns:
        Those that were made, the innermost first.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def remove_empty(folders: list[Path]) -> None:
    """Removes those of some folders, the innermost first, that hold nothing."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def write_text(place: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with building_file(place) as building:
        building.write_text(text, encoding="utf-8")


def write_json(place: Path, content: Any, *, indent: int | None = None) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(place, json.dumps(content, indent=indent))


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Removes what processes that were killed while they wrote left in a folder.

    Args:
        folder: where; no other process may be writing there now.
        name: only what was to become the file or folder of this name.
    """
    for path in folder.glob(f".{name}.*"):
        if _LEFTOVER.fullmatch(path.name):
            _remove(path)


def check_room(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Refuses to write what would not fit.

    Args:
        folder: where; it must exist.
        needed: bytes.
        what: for the message.
        remedy: what to do about it, for the message.

    Raises:
        SinkscopeError: if less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SinkscopeError(
            f"too little disk for {what}: it needs {needed / 2**30:.2f} GiB and {free / 2**30:.2f} GiB are free at "
            f"{folder}: {remedy}"
        )


def _beside(place: Path, kind: str) -> Path:
    """A hidden name beside a place, of this process alone."""
    return place.with_name(f".{place.name}.{os.getpid()}.{kind}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Puts a file, or a folder with all that is in it, on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            if not inner.is_symlink():
                _sync(inner)
        _sync_entry(path)
        return
    with path.open("rb+" if os.name == "nt" else "rb") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def _sync_entry(folder: Path) -> None:
    """Puts the names in a folder on the disk, where the system can: Windows and some network disks cannot."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
