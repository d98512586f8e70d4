"""Boundary states on disk, in a folder of their own that nobody else can have prepared.

The folder's name is random, and it is made, never taken over. An analysis that keeps a journal notes the name there, so
that one which resumes it finds the states; each is checked by its hash before it is used, and what is damaged is named
and computed again. While a process works with a folder it owns it (`files.owner`). A folder whose owner was killed, and
which no journal names any more, is removed by the next analysis that spills to the same place.
"""

import hashlib
import os
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from sinkscope.analysis.drivers.boundary import Key
from sinkscope.errors import RequestError
from sinkscope.files.beside import remove_leftovers
from sinkscope.files.failures import explained_failures
from sinkscope.files.owner import is_owned, owned
from sinkscope.files.sealed import DamagedError, read_sealed, write_sealed
from sinkscope.files.whole import building_file
from sinkscope.terminal import logger

_log = logger(__name__)
_PREFIX = "sinkscope-"
_STATE = re.compile(r"[a-z]+-\d+-\d+\.safetensors")
_KEEPER = "kept-for.json"  # in the folder: which note names it
_HASH = "sha256"


class OnDisk:
    """Boundary states as files in a folder of their own.

    Args:
        parent: where that folder is made; it must exist or be makeable, on a disk with room.
        note: a file that names the folder for another process, and may name one from which this process goes on; its
            own folder must exist. By default nobody goes on from what is kept.

    Raises:
        SinkscopeError: if it cannot be made.
    """

    def __init__(self, parent: Path, note: Path | None = None) -> None:
        self._note = note
        self._owning = ExitStack()
        self._trusted: set[Path] = set()  # written, or checked, by this process
        parent = parent.expanduser().absolute()
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"cannot write to {parent}: {error.strerror}") from error
        with explained_failures(parent):
            remove_abandoned(parent)
            before = None if note is None else named_by(note)
            if before is not None and (before.parent != parent or not _is_ours(before)):
                remove_spilled(before)
                before = None
            self.folder = before or Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self._owning.enter_context(owned(self.folder))
            if note is not None and before is None:
                write_sealed(self.folder / _KEEPER, {"note": str(note.absolute())})
                write_sealed(note, {"folder": str(self.folder)})
        remove_leftovers(self.folder)

    def put(self, key: Key, x: Tensor) -> None:
        """Keeps a tensor, whole or not at all.

        Raises:
            SinkscopeError: if the disk is full.
        """
        place, tensor = self._file(key), x.detach().to("cpu").contiguous()
        metadata = None if self._note is None else {_HASH: _tensor_hash(tensor)}
        with (
            explained_failures(self.folder.parent, "boundary states"),
            building_file(place, sync=self._note is not None) as building,
        ):
            save_file({"x": tensor}, building, metadata=metadata)
        self._trusted.add(place)

    def get(self, key: Key) -> Tensor:
        """A kept tensor, memory-mapped."""
        return _read(self._file(key))[0]

    def has(self, key: Key) -> bool:
        """Whether a tensor is kept, and is what was written; one that is not is named and forgotten."""
        place = self._file(key)
        if place in self._trusted:
            return True
        if place.is_symlink() or not place.is_file():
            return False
        try:
            tensor, digest = _read(place)
            whole = digest == _tensor_hash(tensor)
        except SafetensorError:
            whole = False
        if whole:
            self._trusted.add(place)
        else:
            _log.warning("%s is damaged: it is computed again", place)
            place.unlink()
        return whole

    def drop(self, key: Key) -> None:
        """Forgets a tensor; nothing where there is none."""
        place = self._file(key)
        self._trusted.discard(place)
        place.unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the folder, and the note of it."""
        remove_spilled(self.folder)
        if self._note is not None:
            self._note.unlink(missing_ok=True)
        self._owning.close()

    def leave(self) -> None:
        """Leaves the folder to a process that goes on from it; removes it where none will."""
        if self._note is None:
            self.close()
        else:
            self._owning.close()

    def _file(self, key: Key) -> Path:
        what, layer, batch = key
        return self.folder / f"{what}-{layer}-{batch}.safetensors"


def named_by(note: Path) -> Path | None:
    """The folder that a note names; None where there is none, or the note is damaged."""
    try:
        known = read_sealed(note)
    except DamagedError:
        return None
    return None if known is None else Path(str(known["folder"]))


def remove_spilled(folder: Path) -> None:
    """Removes a folder of spilled states, if it is one: of what is in it, nothing but such states."""
    if not _is_ours(folder):
        return
    remove_leftovers(folder)
    for path in folder.iterdir():
        if _STATE.fullmatch(path.name) or path.name == _KEEPER:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def remove_abandoned(parent: Path) -> None:
    """Removes the folders below a place whose owners were killed, and from which nobody can go on."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if not _is_ours(folder) or is_owned(folder):
            continue
        try:
            keeper = read_sealed(folder / _KEEPER)
        except DamagedError:
            keeper = None
        if keeper is not None and named_by(Path(str(keeper["note"]))) == folder:
            continue
        with owned(folder):
            remove_spilled(folder)


def _is_ours(folder: Path) -> bool:
    """Whether a folder is one that this user's processes made, and no link to another."""
    if not folder.name.startswith(_PREFIX) or folder.is_symlink() or not folder.is_dir():
        return False
    return os.name == "nt" or folder.stat().st_uid == os.getuid()


def _read(place: Path) -> tuple[Tensor, str | None]:
    """A kept tensor, memory-mapped, and the hash that it was kept with."""
    with safe_open(place, framework="pt") as stored:
        return stored.get_tensor("x"), (stored.metadata() or {}).get(_HASH)


def _tensor_hash(tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}".encode())
    digest.update(tensor.contiguous().reshape(-1).view(uint8).numpy().data)
    return digest.hexdigest()
