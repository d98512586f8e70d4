"""What the numbers of an analysis depend on: an interrupted one goes on only where all of it is the same."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from sinkscope.analysis.settings import AnalysisRequest
from sinkscope.loading.describe import config_sha256, describe, valves_sha256
from sinkscope.loading.load import Loaded
from sinkscope.provenance.begin import library_versions
from sinkscope.text.packing import windows_sha256
from sinkscope.version import __version__


def request_of(
    loaded: Loaded,
    input_ids: Tensor,
    document_ids: Tensor | None,
    *,
    request: AnalysisRequest,
    driver: str,
    device: torch.device,
    processes: int,
    chosen: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The request behind an analysis, JSON-serializable.

    Args:
        loaded: the model, with where it came from.
        input_ids: its windows [N, T].
        document_ids: documents [N, T] that are kept apart; None where they attend across.
        request: what is measured, and how.
        driver: name of what makes the passes.
        device: where.
        processes: how many share the windows.
        chosen: the budget, and the windows that were chosen to fit it; None where there is none.
    """
    return {
        "sinkscope": __version__,
        "versions": library_versions(),
        "model": {**describe(loaded.model), **loaded.description},
        "config": config_sha256(loaded.model),
        "vscale": valves_sha256(loaded.model),
        "settings": asdict(request.settings),
        "windows": windows_sha256(input_ids),
        "shape": list(input_ids.shape),  # the hash is of all tokens in a row, however they are cut
        "documents": None if document_ids is None else windows_sha256(document_ids),
        "batch_size": request.windows.batch_size,
        "driver": driver,
        "device": str(device),
        "device_map": request.model.device_map,
        "processes": processes,
        **({} if chosen is None else {"chosen": chosen}),
    }
