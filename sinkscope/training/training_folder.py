"""The folder of a training: which files it holds, and which training may write into it.

A training that begins writes its settings into the folder, and the folder is then this training's. A training that is
resumed must have the same settings and the same inputs, by their hashes; any other is refused, so that no folder mixes
two trainings.

OUT/settings.json    the settings, written first: what a resumed run must agree with; with a hash of its own
OUT/inputs.json      hashes of the text and of the model that is trained on, likewise
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

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.failures import explained_failures
from sinkscope.files.sealed import read_sealed, write_sealed
from sinkscope.unfinished import differences

if TYPE_CHECKING:
    from accelerate import Accelerator

SETTINGS, INPUTS = "settings.json", "inputs.json"
_ELSEWHERE = "choose another `out`"
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
        _refuse_other(read_sealed(note, _ELSEWHERE) or {}, json.loads(json.dumps(settings)), out)
    elif out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise RequestError(f"{out} is not empty and holds no training run: choose another `out`")
    accelerator.wait_for_everyone()  # all have looked before one of them writes
    taken = accelerator.is_main_process and not note.exists()
    if taken:
        with explained_failures(out):
            out.mkdir(parents=True, exist_ok=True)
            write_sealed(note, settings, indent=1)
    accelerator.wait_for_everyone()
    try:
        yield
    except SinkscopeError:
        if taken:
            note.unlink()
            (out / INPUTS).unlink(missing_ok=True)
            shutil.rmtree(out / TOKENS, ignore_errors=True)
            if not any(out.iterdir()):
                out.rmdir()
        raise


def hold_to(inputs: dict[str, Any], out: Path, accelerator: "Accelerator") -> None:
    """Notes what a training reads beside its settings or, where that is noted, checks that it is the same.

    Args:
        inputs: hashes by what they are of.
        out: the folder of the training, claimed.
        accelerator: only its main process writes.

    Raises:
        RequestError: if something has changed since the training began.
    """
    before = read_sealed(out / INPUTS, _ELSEWHERE)
    changed = [] if before is None else differences(before, inputs)
    if changed:
        raise RequestError(f"{', '.join(changed)} changed since {out} was begun: go on with what it was begun with")
    accelerator.wait_for_everyone()  # all have looked before one of them writes
    if before is None and accelerator.is_main_process:
        write_sealed(out / INPUTS, inputs, indent=1)


def _refuse_other(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    changed = differences(before, now)
    if changed:
        raise RequestError(f"{out} was begun with other settings in {', '.join(changed[:6])}: resume with the same")
