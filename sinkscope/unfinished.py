"""The folder of unfinished work, beside the place of the finished one: `.NAME.KIND/`.

It names the request that the work is for, so that only the same request goes on with it. Every file in it is written
whole or not at all, and so is the finished run folder.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sinkscope.documents.read import read_if_there
from sinkscope.documents.state import Request
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import make_folders, remove_empty, write_json

_REQUEST = "request.json"


class Unfinished:
    """The folder of one unfinished work.

    Args:
        out: the place of the finished run.
        kind: what is unfinished, in one word.
        request: everything that results depend on, JSON-serializable.
        resume: go on with what is there; nothing there is a start from the beginning.
        force: throw away what is there, unless it is resumed.

    Raises:
        SinkscopeError: if there is unfinished work and neither is wanted, or it is that of another request.
    """

    def __init__(self, out: Path, kind: str, request: dict[str, Any], *, resume: bool, force: bool) -> None:
        self.folder = folder_of(out, kind)
        self._request = json.loads(json.dumps(request))
        self._around: list[Path] = []
        if force and not resume:
            self.discard()
            return
        refuse_unfinished(out, kind, resume=resume)
        before = read_if_there(self.folder / _REQUEST, Request)
        if before is not None and before != self._request:
            changed = ", ".join(differences(before, self._request))
            raise RequestError(
                f"the unfinished {kind} of {out} has another {changed}: resume with the same, or `force`"
            )

    @property
    def digest(self) -> str:
        """A name for the request, the same wherever it is made: 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self._request, sort_keys=True).encode()).hexdigest()[:16]

    def begin(self) -> None:
        """Makes the folder."""
        self._around += make_folders(self.folder.parent)
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / _REQUEST).is_file():
            write_json(self.folder / _REQUEST, self._request)

    def discard(self) -> None:
        """Removes the folder, and those around it that were made for it and hold nothing else."""
        shutil.rmtree(self.folder, ignore_errors=True)
        remove_empty(self._around)


def folder_of(out: Path, kind: str) -> Path:
    """Where unfinished work lies whose finished run belongs at `out`."""
    return out.absolute().parent / f".{out.name}.{kind}"


def request_before(out: Path, kind: str) -> dict[str, Any]:
    """The request of unfinished work whose finished run belongs at `out`; empty where there is none."""
    return read_if_there(folder_of(out, kind) / _REQUEST, Request) or {}


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
