"""Writing to disk so that whatever stands under its own name is whole.

A file or folder is built beside its place, under a hidden name (`beside`), and then takes it. A process that fails or
is killed on the way leaves what stood there before. A rename alone does not survive a loss of power: it can reach the
disk before the content, and the name then stands for an empty file. So the content is put on the disk first (fsync),
then the rename, then the entry in the folder that holds it.

A folder cannot be renamed over one that has files in it. The two exchange their names, in one step (`exchange`). Where
the system has no such step, the old one is moved aside and the new one moved in. A process that is killed between the
two leaves both whole beside the place, and the next owner of the place puts the old one back (`beside.recover`).
"""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sinkscope.files.beside import RETIRED, free_name, new_file, new_folder, remove
from sinkscope.files.exchange import exchanged


@contextmanager
def building_file(place: Path, *, sync: bool = True) -> Iterator[Path]:
    """A path to write a file to, which takes its place when the block ends without an exception.

    Args:
        place: where the file belongs; its folder must exist.
        sync: whether it must survive a loss of power too; off for files that are of no use to another process.
    """
    building = new_file(place)
    try:
        yield building
        move_into_place(building, place, sync=sync)
    finally:
        building.unlink(missing_ok=True)


@contextmanager
def building_folder(place: Path, retire: Callable[[Path], None] = remove) -> Iterator[Path]:
    """A folder to fill, which takes its place, also that of an older one, when the block ends without an exception.

    Its permissions are those of any new folder.

    Args:
        place: where the folder belongs; missing parents are made.
        retire: as for `move_into_place`.
    """
    with folder_beside(place) as building:
        yield building
        move_into_place(building, place, retire=retire)


@contextmanager
def folder_beside(place: Path) -> Iterator[Path]:
    """A folder to fill on the same disk as a place, removed when the block ends, with whatever is still in it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    building = new_folder(place)
    try:
        yield building
    finally:
        remove(building)


def move_into_place(built: Path, place: Path, *, sync: bool = True, retire: Callable[[Path], None] = remove) -> None:
    """Gives a finished file or folder its name, in place of whatever has that name.

    Args:
        built: what is finished, on the same disk.
        place: where it belongs; the folder around it must exist.
        sync: whether it must survive a loss of power.
        retire: gets the path of the folder that had the name, to remove it.
    """
    if sync:
        _sync(built)
    if place.is_dir():
        retire(_changed_places(built, place))
    else:
        built.replace(place)
    if sync:
        _sync_entry(place.parent)


def _changed_places(built: Path, place: Path) -> Path:
    """Gives something finished the name of a folder; returns where that folder is now."""
    if exchanged(built, place):
        return built
    retired = free_name(place, RETIRED)
    place.rename(retired)
    try:
        built.rename(place)
    except BaseException:
        retired.rename(place)
        raise
    return retired


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
