"""An unfinished track on disk, beside the place of the finished one: `.NAME.track/`.

It holds what all checkpoints share (the request, the windows, the tokenizer) and one small JSON file per measured
checkpoint. A track that was killed goes on from there.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sinkscope.documents.read import check
from sinkscope.documents.state import TrackResult, TrackShared
from sinkscope.files.failures import explained_failures
from sinkscope.files.sealed import check_hashes, hashes, read_sealed, write_sealed
from sinkscope.files.whole import building_file, building_folder
from sinkscope.loading.load import load_tokenizer
from sinkscope.methods.calibration_text import CalibrationText
from sinkscope.provenance.document import document_of
from sinkscope.tables.stored import from_columns, limits
from sinkscope.tracking.checkpoints import Checkpoint
from sinkscope.unfinished import ANEW, Unfinished

KIND = "track"
_SHARED, _WINDOWS, _TOKENIZER = "shared.json", "windows.safetensors", "tokenizer"


@dataclass(frozen=True)
class KeptWindows:
    """What every checkpoint of a track reads.

    Attributes:
        input_ids: token ids [N, T].
        document_ids: documents [N, T] to keep apart; None lets them attend across.
        sha256: hash of the token ids.
        bos: whether each window starts with a forced <bos>.
        tokenizer: made them.
        calibration: what every checkpoint is calibrated on; None where nothing is.
        plan: what was expected when they were made, as run.json has it; None where nobody asked.
    """

    input_ids: Tensor
    document_ids: Tensor | None
    sha256: str
    bos: bool
    tokenizer: PreTrainedTokenizerBase
    calibration: CalibrationText | None = None
    plan: dict[str, Any] | None = None


class Partial(Unfinished):
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
        super().__init__(out, KIND, request, resume=resume, force=force)

    def windows(self, *, trust_remote_code: bool = False) -> KeptWindows | None:
        """The windows of the track; None until they are kept."""
        sealed = read_sealed(self.folder / _SHARED, ANEW)
        if sealed is None:
            return None
        shared = check(sealed, TrackShared, str(self.folder / _SHARED))
        check_hashes(self.folder, shared.files, ANEW)
        tensors = load_file(self.folder / _WINDOWS)
        tokenizer = load_tokenizer(str(self.folder / _TOKENIZER), trust_remote_code=trust_remote_code)
        calibration = None
        if shared.calibration is not None:
            ids, documents = tensors["calibration_ids"], tensors.get("calibration_documents")
            calibration = CalibrationText(ids, documents, **shared.calibration.model_dump())
        return KeptWindows(
            tensors["input_ids"], tensors.get("document_ids"), shared.sha256, shared.bos, tokenizer, calibration,
            shared.plan,
        )  # fmt: skip

    def keep_windows(self, windows: KeptWindows) -> None:
        """Keeps the windows, for this track and for one that resumes it."""
        tensors = {"input_ids": windows.input_ids, "document_ids": windows.document_ids}
        text = windows.calibration
        if text is not None:
            tensors |= {"calibration_ids": text.input_ids, "calibration_documents": text.document_ids}
        with explained_failures(self.folder, "the unfinished track"):
            with building_file(self.folder / _WINDOWS) as building:
                save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, building)
            with building_folder(self.folder / _TOKENIZER) as building:
                windows.tokenizer.save_pretrained(building)
        kept = {name: digest for name, digest in hashes(self.folder).items()
                if name == _WINDOWS or name.startswith(f"{_TOKENIZER}/")}  # fmt: skip
        calibration = None if text is None else {"batch_size": text.batch_size, "provenance": text.provenance}
        shared = {"sha256": windows.sha256, "bos": windows.bos, "calibration": calibration, "plan": windows.plan}
        write_sealed(self.folder / _SHARED, {**shared, "files": kept})

    def result(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """What was kept of a checkpoint; None where it is missing, or its files have changed since.

        Raises:
            SinkscopeError: if it is not what a track keeps.
        """
        place = self._place(checkpoint)
        sealed = read_sealed(place, f"remove it, and {checkpoint.name} is measured again")
        stored = None if sealed is None else check(sealed, TrackResult, str(place))
        if stored is None or stored.fingerprint != json.loads(json.dumps(checkpoint.fingerprint())):
            return None
        result = stored.result
        check(result.info, document_of("analysis", but=("sink_tokens", "tables")), f"{place}: 'info'")
        for name, columns in result.rows.items():
            from_columns(columns, name, str(place), limits(result.info))
        return result.model_dump()

    def keep(self, checkpoint: Checkpoint, result: dict[str, Any], fingerprint: Any) -> None:
        """Keeps the result of a checkpoint, whole or not at all.

        Args:
            checkpoint: which.
            result: what was measured.
            fingerprint: the checkpoint's, as it was before it was loaded.
        """
        with explained_failures(self.folder, "the unfinished track"):
            write_sealed(self._place(checkpoint), {"fingerprint": fingerprint, "result": result})

    def discard_if_empty(self) -> None:
        """Removes the folder where no checkpoint's result is in it."""
        if not any(self.folder.glob("step-*.json")):
            self.discard()

    def _place(self, checkpoint: Checkpoint) -> Path:
        return self.folder / f"step-{checkpoint.step}.json"
