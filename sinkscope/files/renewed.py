"""Some files of a folder replaced, all at once: a reader sees the old ones or the new ones, never some of each.

Several files cannot take their names in one step; a folder can. So the folder is made once more beside its place, with
the new files and with links to all others, and the two change places. Nothing is copied, and what is not ours is in
both. A file that somebody added meanwhile moves to the new folder. One file alone simply takes its name.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from sinkscope.errors import RequestError
from sinkscope.files.beside import remove
from sinkscope.files.listed import LIST, listed, named, walked, write_list
from sinkscope.files.whole import folder_beside, move_into_place


def renew(folder: Path, built: Path, *, own: Iterable[str] = ()) -> None:
    """Moves finished files into a folder, in place of its own files of these names.

    Where a whole subfolder is made anew, as `figures`, the folder's own files in it that are not made again go.

    Args:
        folder: where they belong; a folder that is there.
        built: a folder with the files, on the same disk.
        own: relative names that are ours though no list says so.

    Raises:
        RequestError: if a name is taken by a file that is not ours.
    """
    new = walked(built)
    before = listed(folder)
    ours = {*own} if before is None else before
    there = set(walked(folder))
    taken = sorted(
        name for name in new if (name in there and (name not in ours or (folder / name).is_symlink()))
        or any(part.as_posix() in there for part in Path(name).parents) or (folder / name).is_dir()
    )  # fmt: skip
    if taken:
        raise RequestError(f"{folder} holds {named(taken)} of somebody else: choose another `out`")
    inside = {name.partition("/")[0] for name in new if "/" in name}
    stale = {name for name in there & ours if name.partition("/")[0] in inside and name not in new}
    lists = sorted((there & ours | set(new)) - stale - {LIST})
    if len(new) == 1 and not stale and before is not None and lists == sorted(before - {LIST}):
        move_into_place(built / new[0], folder / new[0])
        return
    with folder_beside(folder) as whole:
        kept = there - stale - set(new) - {LIST}
        for name in sorted(kept):
            _link(folder / name, whole / name)
        _like(folder, whole)
        for name in new:
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            (built / name).rename(whole / name)
        write_list(whole, lists)
        move_into_place(whole, folder, retire=lambda old: _settle(old, folder, there | {LIST}))


def _link(file: Path, place: Path) -> None:
    """Gives a file, or a link itself, a second name; where the disk has no such thing, makes a copy."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, place, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(file, place, follow_symlinks=False)


def _like(folder: Path, whole: Path) -> None:
    """Gives the copy the folders of the original, the empty ones too, with their permissions and times."""
    for around, folders, _ in os.walk(folder):
        inside = Path(around).relative_to(folder)
        for name in folders:
            if not Path(around, name).is_symlink():
                (whole / inside / name).mkdir(parents=True, exist_ok=True)
        shutil.copystat(around, whole / inside)


def _settle(old: Path, folder: Path, known: set[str]) -> None:
    """Removes the folder that was replaced; what came into it meanwhile moves to the new one."""
    for name in walked(old):
        if name not in known and not os.path.lexists(folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (old / name).rename(folder / name)
    remove(old)
