"""Names of files that stand in a file: each must mean a file in the folder that it belongs to.

An index of weights and a run.json name other files. Either may come from somebody else, and a name such as `../x`, an
absolute path or a link that points elsewhere would have a file read that the folder does not hold. The Hub's own cache
keeps what a commit's folder links to in `blobs` beside it, which is as good as inside.

And names that people type, which libraries do not take all of.
"""

from pathlib import Path, PurePosixPath, PureWindowsPath

from sinkscope.errors import RequestError, SinkscopeError

_SNAPSHOTS, _BLOBS = "snapshots", "blobs"  # of the Hub's cache: models--owner--name/snapshots/COMMIT/ links to blobs/


def inside(folder: Path, name: object, of: str) -> Path:
    """The file of a folder that a name means; whether it exists is not asked.

    Args:
        folder: the folder.
        name: as it was read from a file.
        of: what names it, for the message.

    Raises:
        SinkscopeError: if the name is none, or leaves the folder by itself or through a link.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise SinkscopeError(f"{of} names a file '{name}', which is no name of a file")
    ways = (PurePosixPath(name), PureWindowsPath(name))
    if any(way.is_absolute() or way.drive or way.root or ".." in way.parts for way in ways):
        raise SinkscopeError(f"{of} names '{name}', which is no file of {folder}: only files inside are read")
    path = folder / name
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # a circle of links
        raise SinkscopeError(f"{of} names '{name}', and the system cannot follow its links") from error
    if real.is_relative_to(home) or real.parent == _blobs_beside(home):
        return path
    raise SinkscopeError(
        f"{of} names '{name}', a link to {real}, which is no file of {folder}: copy it into the folder"
    )


def refuse_unreadable_name(path: Path) -> None:
    """Refuses a path whose name is no UTF-8: the libraries that read weights and write tables take no other.

    Raises:
        RequestError: if it is.
    """
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(
            f"the name of {path} is not UTF-8, and files there cannot be read or written: rename it"
        ) from error


def _blobs_beside(folder: Path) -> Path | None:
    """Where the Hub's cache keeps a commit's files; None for any other folder."""
    return folder.parents[1] / _BLOBS if folder.parent.name == _SNAPSHOTS else None
