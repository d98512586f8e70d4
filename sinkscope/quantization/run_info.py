"""From the measurements of all models to a run: its tables, and what run.json says of it."""

from importlib.util import find_spec
from typing import Any

import pandas as pd

from sinkscope.methods.choose import Chosen, calibrates
from sinkscope.names import NONE
from sinkscope.provenance.begin import LIBRARIES, begin, library_versions
from sinkscope.quantization.changes import compare, compare_positions, paired
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.settings import QuantizationRequest
from sinkscope.tables.run_folder import Run
from sinkscope.tables.unmitigated import unmitigated

CONVENTIONS = {
    "probe": "code = clamp(round_half_even(x / scale), -n, n), n = 2^(bits-1) - 1, scale = largest |x| / n in float32",
    "probe_modules": "linear modules inside the decoder layers; lm_head is left alone",
    "static": "largest |x| of the unquantized model over the calibration windows",
    "mitigation": "acts before rounding, on calibration text; exact but for a prefix, which adds context; same targets",
    "delta": "loss minus that of the unquantized model on the same windows, nats per token",
    "intervals": "95 %, Student's t with the spread of 10,000 bootstrap draws of sequences; paired for differences",
    "positions": "of the predicted token, from its window's first, or its document's where those are kept apart",
    "paired": "of two deltas on the same windows, sequence by sequence",
    "sqnr": "10 log10(sum x^2 / sum (x - x_hat)^2), per module, on its input in the unquantized model",
    "ranking": "each module alone, and all but it, on the first windows; no interval",
}
_PACKAGES = ("bitsandbytes", "torchao", "compressed_tensors")


def run_of(measurements: Measurements, request: QuantizationRequest, chosen: Chosen, *, seconds: float) -> Run:
    """The run.

    Args:
        measurements: of all models.
        request: with everything settled that it had left open.
        chosen: its methods.
        seconds: what the measurements took.
    """
    text, windows = request.text, request.windows
    losses, by_position = _ordered(measurements, "losses"), _ordered(measurements, "position_losses")
    table = compare(losses, chosen, measurements.windows, measurements.chose, seed=request.settings.seed)
    tables = {"quantization": table, "paired": paired(losses, measurements.windows, seed=request.settings.seed)}
    tables |= {"losses": losses, "outliers": measurements.table("outliers")}
    tables["quantization_positions"] = compare_positions(by_position, seed=request.settings.seed)
    tables["position_losses"] = by_position
    for name in ("parts", "noise", "ranking", "histograms", "mitigation_sites"):
        if name in measurements.parts:
            tables[name] = measurements.table(name)
    plain = unmitigated(table)
    info = begin(
        "quantization",
        models=measurements.models,
        data={
            **text.provenance(),
            "sha256": measurements.windows,
            "sequences": windows.count,
            "tokens": windows.tokens,
            "bos": windows.bos,
            "isolated_documents": windows.isolate_documents,
            "targets": measurements.targets,
            "comparable": len(set(measurements.windows.values())) == 1,
        },
        notes=measurements.notes,
        device=measurements.device,
        seconds=seconds,
        peak_memory_bytes=measurements.peak_memory,
        settings=_settings(request, chosen, measurements),
        conventions=CONVENTIONS,
        versions={**library_versions((*LIBRARIES, *filter(find_spec, _PACKAGES))), **measurements.versions},
        headline={
            model: plain[plain["model"] == model].set_index("method")[["perplexity", "delta"]].to_dict("index")
            for model in measurements.windows
        },
        **({} if measurements.plan is None else {"plan": measurements.plan}),
        **({} if measurements.saved is None else {"saved": measurements.saved}),
    )
    return Run(info, tables)


def _ordered(measurements: Measurements, name: str) -> pd.DataFrame:
    """A table by model, in each what is without a mitigation first."""
    table = measurements.table(name)
    first = {model: number for number, model in enumerate(measurements.windows)}
    table = table.assign(place=table["model"].map(first), changed=table["mitigation"] != NONE)
    table = table.sort_values(["place", "changed"], kind="stable").drop(columns=["place", "changed"])
    return table.reset_index(drop=True)


def _settings(request: QuantizationRequest, chosen: Chosen, measurements: Measurements) -> dict[str, Any]:
    """What the numbers depend on beside models and text."""
    settings = request.settings
    return {
        "methods": list(settings.methods),
        "mitigate": list(settings.mitigate),
        "modules": settings.modules,
        "calibration_data": settings.calibration_data,
        "calibration_sequences": measurements.calibration_sequences or request.calibration_windows.count,
        "calibration_windows": measurements.calibration_windows,
        "calibrated_methods": [name for name in settings.methods if calibrates(chosen, name)],
        "rank_by": settings.rank_by,
        "rank_sequences": settings.rank_sequences,
        "rank_limit": settings.rank_limit,
        "seed": settings.seed,
        "batch_size": request.windows.batch_size,
        "backward": False,
    }
