"""The text that a measured model is calibrated on, where its method calibrates.

Scales that were read off the very text that is evaluated flatter a method: no value there lies beyond their range. So
the text to calibrate on is another one: what was named, or else the packaged `stdlib`, where that is evaluated too
behind the documents that were, and where half of it is evaluated the other half. It is cut into windows as the verb
cuts its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import MethodOptions, TextSource, Windows
from sinkscope.passes.batches import Batch, batches_of
from sinkscope.text.documents import Document
from sinkscope.text.sources import open_text
from sinkscope.text.stdlib import CODE, PROSE, STDLIB
from sinkscope.text.windows import pack_for

_OTHER_HALF = {PROSE: CODE, CODE: PROSE}


class Counted(Iterator[Document]):
    """Documents, with how many of them were read."""

    def __init__(self, documents: Iterator[Document]) -> None:
        self._documents = documents
        self.read = 0

    def __next__(self) -> Document:
        document = next(self._documents)
        self.read += 1
        return document


@dataclass(frozen=True)
class CalibrationText:
    """Windows to calibrate on.

    Attributes:
        input_ids: token ids [N, T].
        document_ids: documents [N, T] that are kept apart; None where they attend across.
        batch_size: windows per forward pass.
        provenance: what run.json says of them.
    """

    input_ids: Tensor
    document_ids: Tensor | None
    batch_size: int
    provenance: dict[str, Any]

    @property
    def batches(self) -> list[Batch]:
        """The windows in forward passes."""
        return batches_of(self.input_ids, self.document_ids, self.batch_size)


def named_text(evaluated: TextSource | None, options: MethodOptions) -> TextSource:
    """The text to calibrate on: the one that was named, read as the evaluated one is, or the packaged one."""
    if options.calibration_data is None:
        return TextSource(_OTHER_HALF.get(evaluated.data if evaluated is not None else "", STDLIB))
    return replace(evaluated or TextSource(), data=options.calibration_data)


def calibration_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    evaluated: TextSource | None,
    windows: Windows,
    options: MethodOptions,
    *,
    read: int,
) -> CalibrationText:
    """Reads the text to calibrate on.

    Args:
        model: whose context bounds the windows.
        tokenizer: the model's.
        evaluated: the evaluated text; None for windows that a program gave.
        windows: how the evaluated text is cut.
        options: which text, and how much of it.
        read: documents of the packaged text that are evaluated, and left out where no text was named.

    Raises:
        SinkscopeError: for a text that cannot be read, or is too short.
    """
    source = named_text(evaluated, options)
    skipped = read if options.calibration_data is None else 0
    sequences = options.calibration_sequences or windows.count
    try:
        documents = islice(open_text(source), skipped, None)
        packed = pack_for(model, tokenizer, documents, sequences, windows.tokens, windows.bos)
    except SinkscopeError as error:
        hint = str(error).replace("`sequences`", "`calibration_sequences`")
        raise type(error)(f"`calibration_data={source.data}`: {hint}") from error
    return CalibrationText(
        packed.input_ids,
        packed.document_ids if windows.isolate_documents else None,
        windows.batch_size,
        {
            **source.provenance(),
            "skipped_documents": skipped,
            "sequences": sequences,
            "tokens": packed.input_ids.shape[1],
            "bos": packed.bos,
            "sha256": packed.sha256,
        },
    )
