"""What a comparison keeps of one model while it is unfinished: every row's losses, what stands beside, and whose it is.

A piece is kept as soon as it is whole, under the name of what it is, and is read instead of being measured again. The
request is bound by its hash (`unfinished`), the model, its windows and those that calibrate by theirs: a piece of other
weights or another text is never taken for one of these.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pandas as pd

from sinkscope.errors import RequestError
from sinkscope.files.sealed import content_hash
from sinkscope.provenance.begin import LIBRARIES, library_versions
from sinkscope.quantization.settings import QuantizationRequest
from sinkscope.tables.columns import frame
from sinkscope.unfinished import Kept, Unfinished, differences
from sinkscope.version import __version__

KIND = "quantization"
_NOT_MEASURED = ("save", "save_row", "allow_install")


def kept_for(request: QuantizationRequest) -> Kept:
    """Where the pieces of a request go: beside the place of its run, where it has one.

    Args:
        request: as it was asked for, its methods in order.

    Raises:
        SinkscopeError: for unfinished work that is not to be resumed, is another's or is damaged.
    """
    output = request.output
    if output.out is None:
        return Kept(None)
    settings = {name: value for name, value in asdict(request.settings).items() if name not in _NOT_MEASURED}
    asked = {
        "sinkscope": __version__,
        "versions": library_versions(LIBRARIES),
        "models": [model.as_json() for model in request.models],
        "text": asdict(request.text),
        "windows": asdict(request.windows),
        "settings": settings,
    }
    plain = json.loads(json.dumps(asked, default=str))
    return Kept(Unfinished(output.out, KIND, plain, resume=output.resume, force=output.force))


class State:
    """The pieces of one model.

    Args:
        kept: where they go.
        number: the model's place in the request.
    """

    def __init__(self, kept: Kept, number: int) -> None:
        self._kept, self._number = kept, number

    def value(self, *key: str, measure: Callable[[], dict[str, Any]], early: bool = False) -> dict[str, Any]:
        """What JSON can carry: kept under a key, or measured and kept now.

        Args:
            *key: what it is.
            measure: what makes it.
            early: as of `Kept.get`.
        """
        name = f"model-{self._number}-{content_hash(key)[:16]}"
        piece = self._kept.get(name, lambda: {"key": list(key), "value": measure()}, early=early)
        if piece["key"] != list(key):
            raise RequestError(f"{name} of the unfinished {KIND} is another piece: `force` to start anew")
        found: dict[str, Any] = piece["value"]
        return found

    def losses(self, *key: str, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Losses of sequences: columns `loss_sum` and `targets`."""
        return pd.DataFrame(self.value(*key, measure=lambda: columns(measure())))

    def table(self, name: str, *key: str, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Rows of a declared table."""
        return frame(name, self.value(name, *key, measure=lambda: columns(measure())))

    def check(self, facts: dict[str, Any]) -> None:
        """Refuses to go on with what was measured on another model, text or device.

        Raises:
            RequestError: naming what differs.
        """
        now = json.loads(json.dumps(facts, default=str))
        before = self.value("facts", measure=lambda: now, early=True)
        if before != now:
            changed = ", ".join(differences(before, now))
            raise RequestError(f"the unfinished {KIND} has another {changed}: resume with the same, or `force`")


def columns(table: pd.DataFrame) -> dict[str, Any]:
    """A table as lists by column, as JSON carries them, floats to the last bit."""
    return {str(name): table[name].tolist() for name in table.columns}
