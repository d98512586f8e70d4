"""An unfinished track on disk, beside the place of the finished one: `.NAME.track/`.

It holds what all checkpoints share (the request, the windows, the tokenizer) and one small JSON file per measured
checkpoint, each written beside its place and renamed. A track that was killed goes on from there, and the finished run
folder is still written whole or not at all.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.models.load import load_tokenizer
from sinkscope.tracking.checkpoints import Checkpoint

_REQUEST, _SHARED, _WINDOWS, _TOKENIZER = "request.json", "shared.json", "windows.safetensors", "tokenizer"


@dataclass(frozen=True)
class Windows:
    """What every checkpoint of a track reads.

    Attributes:
        input_ids: token ids [N, T].
        document_ids: documents [N, T] to keep apart; None lets them attend across.
        sha256: hash of the token ids.
        bos: whether each window starts with a forced <bos>.
        tokenizer: made them.
    """

    input_ids: Tensor
    document_ids: Tensor | None
    sha256: str
    bos: bool
    tokenizer: PreTrainedTokenizerBase


class Partial:
    """The folder of an unfinished track.

    Args:
        out: the place of the finished run.
        request: everything that results depend on, JSON-serializable.
        resume: go on with what is there; nothing there is a start from the beginning.
        force: throw away what is there.

    Raises:
        SinkscopeError: if there is an unfinished track and neither is wanted, or it is one of another request.
    """

    def __init__(self, out: Path, request: dict[str, Any], *, resume: bool, force: bool) -> None:
        self.out = out
        self.folder = out.absolute().parent / f".{out.name}.track"
        if self.folder.exists() and force and not resume:
            shutil.rmtree(self.folder)
        before = _read(self.folder / _REQUEST)
        if before is not None and not resume:
            raise SinkscopeError(
                f"an unfinished track of {out} is in {self.folder}: --resume to go on with it, --force to start anew",
                exit_code=2,
            )
        if before is not None and before != (now := json.loads(json.dumps(request))):
            changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
            raise SinkscopeError(
                f"the unfinished track of {out} has another {', '.join(changed)}: resume with the same, or --force",
                exit_code=2,
            )
        self._request = request

    def begin(self) -> None:
        """Makes the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / _REQUEST, self._request)

    def windows(self, *, trust_remote_code: bool = False) -> Windows | None:
        """The windows of the track; None until they are kept."""
        shared = _read(self.folder / _SHARED)
        if shared is None:
            return None
        tensors = load_file(self.folder / _WINDOWS)
        tokenizer = load_tokenizer(str(self.folder / _TOKENIZER), trust_remote_code=trust_remote_code)
        return Windows(tensors["input_ids"], tensors.get("document_ids"), **shared, tokenizer=tokenizer)

    def keep_windows(self, windows: Windows) -> None:
        """Keeps the windows, for this track and for one that resumes it."""
        tensors = {"input_ids": windows.input_ids, "document_ids": windows.document_ids}
        save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, self.folder / _WINDOWS)
        windows.tokenizer.save_pretrained(self.folder / _TOKENIZER)
        _write(self.folder / _SHARED, {"sha256": windows.sha256, "bos": windows.bos})

    def result(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """What was kept of a checkpoint; None where it is missing, or its files have changed since."""
        found = _read(self._place(checkpoint))
        if found is None or found["fingerprint"] != json.loads(json.dumps(checkpoint.fingerprint())):
            return None
        result: dict[str, Any] = found["result"]
        return result

    def keep(self, checkpoint: Checkpoint, result: dict[str, Any]) -> None:
        """Keeps the result of a checkpoint, whole or not at all."""
        _write(self._place(checkpoint), {"fingerprint": checkpoint.fingerprint(), "result": result})

    def discard_if_empty(self) -> None:
        """Removes the folder where no checkpoint's result is in it."""
        if not any(self.folder.glob("step-*.json")):
            self.discard()

    def discard(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _place(self, checkpoint: Checkpoint) -> Path:
        return self.folder / f"step-{checkpoint.step}.json"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write(path: Path, content: Any) -> None:
    building = path.with_name(f".{path.name}")
    building.write_text(json.dumps(content), encoding="utf-8")
    building.replace(path)
