"""The text of one model: the windows that every method is measured on, and those that calibrate.

Both are cut by the model's own tokenizer. Scales that were read off the very text that is evaluated flatter a method,
so where no other text to calibrate on was named, it is the same one behind the evaluated windows: as many windows as
were asked for, or as there are.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import TextSource, Windows
from sinkscope.loading.load import Loaded
from sinkscope.passes.batches import Batch, batches_of
from sinkscope.quantization.settings import QuantizationRequest
from sinkscope.text.packing import Packed, windows_sha256
from sinkscope.text.sources import open_text
from sinkscope.text.windows import pack_for

BEHIND, NAMED = "behind", "named"


@dataclass(frozen=True)
class ModelText:
    """Windows of text as one model reads them.

    Attributes:
        evaluated: the windows that methods are measured on.
        calibration: the windows that calibrate; the evaluated ones where nothing calibrates.
        windows: how the evaluated ones were cut, their length settled.
        source: where those that calibrate come from: `behind` the evaluated ones, or a text that was `named`; empty
            where nothing calibrates.
    """

    evaluated: Packed
    calibration: Packed
    windows: Windows
    source: str = ""

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


def text_of(loaded: Loaded, request: QuantizationRequest, *, calibrates: bool) -> ModelText:
    """Cuts the windows of a model.

    Args:
        loaded: the model.
        request: which text, and how it is cut.
        calibrates: whether anything of the request does.

    Raises:
        SinkscopeError: for impossible sizes, or a text that is too short for them.
    """
    if calibrates and request.calibration_text is None:
        return _split(loaded, request)
    evaluated = _packed(loaded, request.text, request.windows)
    settled = replace(request.windows, tokens=evaluated.input_ids.shape[1])
    if request.calibration_text is None:
        return ModelText(evaluated, evaluated, settled)
    windows = replace(request.calibration_windows, tokens=settled.tokens)
    calibration = _calibration(loaded, request.calibration_text, windows)
    return ModelText(evaluated, calibration, settled, NAMED)


def _split(loaded: Loaded, request: QuantizationRequest) -> ModelText:
    """The evaluated windows of a text, and those behind them to calibrate on."""
    windows, wanted = request.windows, request.calibration_windows.count
    whole = pack_for(
        loaded.model, loaded.tokenizer, open_text(request.text), windows.count + wanted, windows.tokens, windows.bos,
        least=windows.count,
    )  # fmt: skip
    count, tokens = whole.input_ids.shape
    if count == windows.count:
        raise SinkscopeError(
            f"the text holds {count} sequence(s) of {tokens} tokens and none behind them to calibrate on: use fewer "
            f"`sequences` or `tokens`, or name `calibration_data` (`{request.text.data}` itself calibrates on what is "
            "evaluated)"
        )
    evaluated, calibration = _part(whole, slice(0, windows.count)), _part(whole, slice(windows.count, None))
    return ModelText(evaluated, calibration, replace(windows, tokens=tokens), BEHIND)


def _part(packed: Packed, rows: slice) -> Packed:
    ids = packed.input_ids[rows].clone()
    return Packed(ids, packed.document_ids[rows].clone(), packed.bos, windows_sha256(ids))


def _packed(loaded: Loaded, text: TextSource, windows: Windows) -> Packed:
    return pack_for(loaded.model, loaded.tokenizer, open_text(text), windows.count, windows.tokens, windows.bos)


def _calibration(loaded: Loaded, text: TextSource, windows: Windows) -> Packed:
    try:
        return _packed(loaded, text, windows)
    except SinkscopeError as error:
        hint = str(error).replace("`sequences`", "`calibration_sequences`")
        raise type(error)(f"`calibration_data={text.data}`: {hint}") from error
