"""The hidden names beside a place: what is being built there, and what was moved aside.

`.NAME.TOKEN.building` is filled and takes the place, `.NAME.TOKEN.retired` had it before. Their tokens are random and
the names are made, never taken over, so that nothing which lies there already is written to, a planted link least of
all. A process that is killed leaves them behind; whoever owns the place next (`owner`) removes them.
"""

import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

BUILDING, RETIRED = "building", "retired"
_TOKEN = re.compile(r"[0-9a-f]{12}")
_BYTES = 6  # of a token


def new_folder(place: Path, kind: str = BUILDING) -> Path:
    """A new, empty folder beside a place, with the permissions of any new folder."""
    while True:
        path = free_name(place, kind)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def new_file(place: Path) -> Path:
    """A new, empty file beside a place, with the permissions of any new file."""
    while True:
        path = free_name(place, BUILDING)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        return path


def free_name(place: Path, kind: str) -> Path:
    """A hidden name beside a place that nobody can have guessed."""
    return place.with_name(f".{place.name}.{secrets.token_hex(_BYTES)}.{kind}")


def recover(place: Path) -> None:
    """Puts back what was moved aside for something new that never came.

    Only its owner may do this, before `remove_leftovers`.
    """
    if os.path.lexists(place):
        return
    for path in sorted(_of(place.parent, place.name)):
        if path.name.endswith(RETIRED):
            path.rename(place)
            return


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Removes what processes that were killed while they wrote left in a folder.

    Args:
        folder: where; no other process may be writing there now.
        name: only what was to become the file or folder of this name.
    """
    for path in _of(folder, name):
        remove(path)


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with all that is in it; nothing where there is nothing.

    Processes of one analysis may do so at once: what another has removed meanwhile is no error.
    """
    while path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _of(folder: Path, name: str | None) -> list[Path]:
    """The hidden names in a folder that are for a name, or for any."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        parts = path.name.rsplit(".", 2)
        if len(parts) == 3 and parts[0].startswith(".") and len(parts[0]) > 1:
            stem, token, kind = parts
            if kind in (BUILDING, RETIRED) and _TOKEN.fullmatch(token) and name in (None, stem[1:]):
                found.append(path)
    return found
