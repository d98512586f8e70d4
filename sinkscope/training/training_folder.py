"""The folder of a training: which files it holds, and which training may write into it.

A training that begins writes its settings into the folder, and the folder is then this training's. A training that is
resumed must have the same settings; any other is refused, so that no folder mixes two trainings.

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
from typing import TYPE_CHECKING, Any

from sinkscope.documents.read import read
from sinkscope.documents.state import Request
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import write_json
from sinkscope.unfinished import differences

if TYPE_CHECKING:
    from accelerate import Accelerator

SETTINGS = "settings.json"
MODEL, CHECKPOINTS, METRICS, TOKENS = "model", "checkpoints", "metrics.parquet", "tokens"


@contextmanager
def claimed(out: Path, settings: dict[str, Any], accelerator: "Accelerator", *, resume: bool) -> Iterator[None]:
    """Writes the settings of a training into its folder or, where some are there, checks that they are the same.

    Run inside the block what can still refuse the request, as preparing the text can. If it raises an error and the
    settings were written by this call, they are removed again, so that the corrected command finds the folder as it was
    before.

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
        _refuse_other(read(note, Request), json.loads(json.dumps(settings)), out)
    elif out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise RequestError(f"{out} is not empty and holds no training run: choose another `out`")
    accelerator.wait_for_everyone()  # all have looked before one of them writes
    taken = accelerator.is_main_process and not note.exists()
    if taken:
        out.mkdir(parents=True, exist_ok=True)
        write_json(note, settings, indent=1)
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
    changed = differences(before, now)
    if changed:
        raise RequestError(f"{out} was begun with other settings in {', '.join(changed[:6])}: resume with the same")
