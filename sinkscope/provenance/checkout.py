"""The commit that this package runs from, where it runs from a checkout of its repository."""

import subprocess
from functools import cache
from pathlib import Path

_PATIENCE = 20.0  # seconds
_PACKAGE = Path(__file__).parents[1]


@cache
def commit_here(package: Path = _PACKAGE) -> str | None:
    """The commit's hash, followed by what that does not tell: changes that are not committed.

    Args:
        package: the folder of the package.

    Returns:
        The words; None of an installed package, or where git does not say.
    """
    checkout = package.parent
    if not (checkout / ".git").exists():  # an environment inside somebody's repository is none
        return None
    commit = _git(checkout, "rev-parse", "HEAD")
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", package.name)
    if not commit or changed is None:
        return None
    return f"{commit} with changes" if changed else commit


def _git(checkout: Path, *words: str) -> str | None:
    try:
        run = subprocess.run(  # noqa: S603  (no words of a user's)
            ["git", "-C", str(checkout), *words],  # noqa: S607  (as people run it)
            capture_output=True, text=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
