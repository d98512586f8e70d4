"""The folder of a training: whose it is, what settings it was begun with, and what of it is done.

OUT/settings.json    the settings, written first: what a resumed run must agree with
OUT/model/           the finished model, there once it is whole
OUT/checkpoints/     see `checkpoint`
OUT/metrics.parquet  one row per step
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import replace_text

SETTINGS = "settings.json"
MODEL, CHECKPOINTS, METRICS, TOKENS = "model", "checkpoints", "metrics.parquet", "tokens"


@contextmanager
def claimed(out: Path, settings: dict[str, Any], accelerator: Accelerator, *, resume: bool) -> Iterator[None]:
    """Takes a folder for a training, or takes it up again; around what can still fail for the user's input.

    If that does fail and the folder was taken just now, it is left as it was, for the corrected command to take.

    Args:
        out: the folder.
        settings: JSON-serializable.
        accelerator: only its main process writes.
        resume: whether a training that is there may go on.

    Raises:
        SinkscopeError: if there is one and `resume` is off, if it has other settings, or if something else is there.
    """
    note = out / SETTINGS
    if note.exists():
        if not resume:
            raise RequestError(f"{out} already holds a training run: choose another `out`, or `resume`")
        _refuse_other(json.loads(note.read_text(encoding="utf-8")), json.loads(json.dumps(settings)), out)
    elif out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise RequestError(f"{out} is not empty and holds no training run: choose another `out`")
    accelerator.wait_for_everyone()  # all have looked before one of them writes
    taken = accelerator.is_main_process and not note.exists()
    if taken:
        out.mkdir(parents=True, exist_ok=True)
        replace_text(note, json.dumps(settings, indent=1))
    accelerator.wait_for_everyone()
    try:
        yield
    except SinkscopeError:
        if taken:
            note.unlink()
            shutil.rmtree(out / TOKENS, ignore_errors=True)
            if not any(out.iterdir()):
                out.rmdir()
        raise


def _refuse_other(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    changed = _differences(before, now, "")
    if changed:
        raise RequestError(f"{out} was begun with other settings in {', '.join(changed[:6])}: resume with the same")


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str) -> list[str]:
    changed = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            changed.append(prefix + key)
    return changed
