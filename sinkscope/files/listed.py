"""A folder's list of its own files, and what in the folder is not on it.

What sinkscope wrote into a folder stands in its list, `.files.json`. Only what is on it is ever replaced or removed: a
user's notes beside the tables are the user's, and a folder without a list is not one of ours, whatever its files are
called. A link is always somebody else's. The list is compared with what a walk through the folder finds; names that
only the list knows lead nowhere.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from sinkscope.files.sealed import DamagedError, read_sealed, write_sealed

LIST = ".files.json"
_NAMED = 3  # files that a message names


def write_list(folder: Path, files: Iterable[str] | None = None) -> None:
    """Writes a folder's list.

    Args:
        folder: where.
        files: relative names; by default those of all files that are there.
    """
    write_sealed(folder / LIST, {"files": sorted({*(walked(folder) if files is None else files)} - {LIST})})


def listed(folder: Path) -> set[str] | None:
    """The relative names on a folder's list, the list's own with them; None where the folder has no list.

    A damaged list names nothing.
    """
    try:
        content = read_sealed(folder / LIST)
    except DamagedError:
        return None
    return None if content is None else {*map(str, content["files"]), LIST}


def foreign(folder: Path) -> list[str]:
    """What is in a folder and not on its list: relative names, sorted."""
    own = listed(folder) or set()
    return sorted(name for name in walked(folder) if name not in own or (folder / name).is_symlink())


def named(names: list[str]) -> str:
    """Some names for a message."""
    more = len(names) - _NAMED
    shown = ", ".join(f"'{ascii(name)[1:-1]}'" for name in names[:_NAMED])
    return shown if more <= 0 else f"{shown} and {more} more"


def remove_listed(folder: Path) -> bool:
    """Removes the files on a folder's list, and the folder where nothing else is in it.

    Returns:
        Whether the folder is gone.
    """
    others = set(foreign(folder))
    names = walked(folder)
    for name in sorted(names, key=lambda name: name == LIST):  # the list goes last
        if name not in others:
            (folder / name).unlink()
    for around, _, _ in os.walk(folder, topdown=False):
        if not any(Path(around).iterdir()):
            Path(around).rmdir()
    return not folder.exists()


def walked(folder: Path) -> list[str]:
    """Relative names of all files and links in a folder; links are not followed."""
    names = []
    for around, folders, files in os.walk(folder):
        inside = Path(around).relative_to(folder)
        links = [name for name in folders if Path(around, name).is_symlink()]
        names += [(inside / name).as_posix() for name in (*files, *links)]
    return names
