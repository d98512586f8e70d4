"""The folder of unfinished work, beside the place of the finished one: `.NAME.KIND/`.

It names the request that the work is for, so that only the same request goes on with it. Every file in it is written
whole or not at all and carries its hash (`files.sealed`), and the finished run folder is written whole, too. Whoever
owns the place of the finished run (`files.owner`) owns this folder.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.beside import remove
from sinkscope.files.failures import explained_failures
from sinkscope.files.sealed import content_hash, read_sealed, write_sealed
from sinkscope.files.whole import make_folders, remove_empty

_REQUEST = "request.json"
ANEW = "`force` to start anew"
"""What to do about unfinished work that is damaged."""


class Unfinished:
    """The folder of one unfinished work.

    Args:
        out: the place of the finished run.
        kind: what is unfinished, in one word.
        request: everything that results depend on, JSON-serializable.
        resume: go on with what is there; nothing there is a start from the beginning.
        force: throw away what is there, unless it is resumed.

    Raises:
        SinkscopeError: if there is unfinished work and neither is wanted, or it is that of another request or damaged.
    """

    def __init__(self, out: Path, kind: str, request: dict[str, Any], *, resume: bool, force: bool) -> None:
        self.folder = folder_of(out, kind)
        self._request = json.loads(json.dumps(request))
        self._around: list[Path] = []
        if force and not resume:
            self.discard()
            return
        if self.folder.is_symlink():
            raise RequestError(f"{self.folder} is a link, and no folder of unfinished work: {ANEW}")
        refuse_unfinished(out, kind, resume=resume)
        before = read_sealed(self.folder / _REQUEST, ANEW)
        if before is not None and before != self._request:
            changed = ", ".join(differences(before, self._request))
            raise RequestError(
                f"the unfinished {kind} of {out} has another {changed}: resume with the same, or `force`"
            )

    @property
    def digest(self) -> str:
        """A name for the request, the same wherever it is made: 16 hexadecimal digits."""
        return content_hash(self._request)[:16]

    def begin(self) -> None:
        """Makes the folder."""
        with explained_failures(self.folder):
            self._around += make_folders(self.folder.parent)
            self.folder.mkdir(exist_ok=True)
            if not (self.folder / _REQUEST).is_file():
                write_sealed(self.folder / _REQUEST, self._request)

    def discard(self) -> None:
        """Removes the folder, and those around it that were made for it and hold nothing else."""
        remove(self.folder)
        remove_empty(self._around)


class Kept:
    """What was measured so far, in small files in the folder of the unfinished work.

    Args:
        unfinished: the work; None keeps nothing.
    """

    def __init__(self, unfinished: Unfinished | None) -> None:
        self._unfinished = unfinished
        self._waiting: dict[str, dict[str, Any]] = {}

    def get(self, name: str, measure: Callable[[], dict[str, Any]], *, early: bool = False) -> dict[str, Any]:
        """What was kept under a name, or what is measured and kept now.

        Args:
            name: of the file.
            measure: what makes it.
            early: whether it alone is not worth a folder: it is written with the first piece that is.
        """
        if self._unfinished is None:
            return measure()
        place = self._unfinished.folder / f"{name}.json"
        stored = read_sealed(place, ANEW)
        if stored is None:
            stored = self._waiting[name] = measure()
            if not early:
                self._write()
        return stored

    def _write(self) -> None:
        assert self._unfinished is not None  # noqa: S101  (nothing waits without it)
        self._unfinished.begin()
        for name, piece in self._waiting.items():
            write_sealed(self._unfinished.folder / f"{name}.json", piece)
        self._waiting.clear()

    def discard(self) -> None:
        """Throws it away."""
        if self._unfinished is not None:
            self._unfinished.discard()


def folder_of(out: Path, kind: str) -> Path:
    """Where unfinished work lies whose finished run belongs at `out`."""
    return out.absolute().parent / f".{out.name}.{kind}"


def request_before(out: Path, kind: str) -> dict[str, Any]:
    """The request of unfinished work whose finished run belongs at `out`; empty where there is none."""
    return read_sealed(folder_of(out, kind) / _REQUEST, ANEW) or {}


def refuse_unfinished(out: Path, kind: str, *, resume: bool) -> None:
    """Refuses to begin where something unfinished lies; it can be asked before a request is known.

    Raises:
        SinkscopeError: if there is unfinished work and it is not to be resumed.
    """
    folder = folder_of(out, kind)
    if not resume and (folder / _REQUEST).is_file():
        raise RequestError(
            f"an unfinished {kind} of {out} is in {folder}: `resume` to go on with it, `force` to start anew"
        )


@contextmanager
def resumable(out: Path, kind: str) -> Iterator[None]:
    """An interrupt inside says how to go on, where there is something to go on with."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not folder_of(out, kind).is_dir():
            raise
        raise SinkscopeError("interrupted: the same command with `resume` goes on from here") from error


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of the keys that differ between two requests, sorted; those inside a dictionary as `outer.inner`."""
    names = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += [f"{key}.{inner}" for inner in differences(old, new)]
        elif old != new:
            names.append(key)
    return names
