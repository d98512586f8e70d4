"""Writing so that whatever is there is whole: beside its place first, then renamed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sinkscope.errors import SinkscopeError


def replace_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(text, encoding="utf-8")
    building.replace(path)


@contextmanager
def building_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place `final` when the block ends without an exception.

    What an earlier, interrupted attempt left is removed first.
    """
    building = final.with_name(f".{final.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    yield building
    shutil.rmtree(final, ignore_errors=True)
    building.rename(final)


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
