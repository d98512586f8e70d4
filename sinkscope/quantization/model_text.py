"""The text of one model: the windows that every method is measured on, and those that calibrate.

Both are cut by the model's own tokenizer. They are the same windows where no other text to calibrate on was named.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import TextSource, Windows
from sinkscope.loading.load import Loaded
from sinkscope.passes.batches import Batch, batches_of
from sinkscope.quantization.settings import QuantizationRequest
from sinkscope.text.packing import Packed
from sinkscope.text.sources import open_text
from sinkscope.text.windows import pack_for


@dataclass(frozen=True)
class ModelText:
    """Windows of text as one model reads them.

    Attributes:
        evaluated: the windows that methods are measured on.
        calibration: the windows that calibrate.
        windows: how the evaluated ones were cut, their length settled.
    """

    evaluated: Packed
    calibration: Packed
    windows: Windows

    @property
    def document_ids(self) -> Tensor | None:
        """The documents [N, T] of the evaluated windows that are kept apart; None where they attend across."""
        return self.evaluated.document_ids if self.windows.isolate_documents else None

    def batches(self, first: int | None = None) -> list[Batch]:
        """The evaluated windows, or the first few of them, in forward passes."""
        return self._batches(self.evaluated, first)

    def calibration_batches(self) -> list[Batch]:
        """The windows that calibrate, in forward passes."""
        return self._batches(self.calibration, None)

    def _batches(self, packed: Packed, first: int | None) -> list[Batch]:
        documents = packed.document_ids[:first] if self.windows.isolate_documents else None
        return batches_of(packed.input_ids[:first], documents, self.windows.batch_size)


def text_of(loaded: Loaded, request: QuantizationRequest) -> ModelText:
    """Cuts the windows of a model.

    Raises:
        SinkscopeError: for impossible sizes, or a text that is too short for them.
    """
    evaluated = _packed(loaded, request.text, request.windows)
    tokens = evaluated.input_ids.shape[1]
    calibration = evaluated
    if request.calibration_text is not None:
        calibration = _calibration(
            loaded, request.calibration_text, replace(request.calibration_windows, tokens=tokens)
        )
    return ModelText(evaluated, calibration, replace(request.windows, tokens=tokens))


def _packed(loaded: Loaded, text: TextSource, windows: Windows) -> Packed:
    return pack_for(loaded.model, loaded.tokenizer, open_text(text), windows.count, windows.tokens, windows.bos)


def _calibration(loaded: Loaded, text: TextSource, windows: Windows) -> Packed:
    try:
        return _packed(loaded, text, windows)
    except SinkscopeError as error:
        hint = str(error).replace("`sequences`", "`calibration_sequences`")
        raise type(error)(f"`calibration_data={text.data}`: {hint}") from error
