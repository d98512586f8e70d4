"""The best row of a comparison, or the named one, as a checkpoint: what was measured, made again and written.

The mitigation is put on once more, from the same calibration text and seed, and so chooses what it chose. The folder is
built beside its place and takes it whole.
"""

from collections.abc import Mapping
from contextlib import closing

from sinkscope.errors import SinkscopeError
from sinkscope.files import building_folder
from sinkscope.files.failures import explained_failures
from sinkscope.files.owner import owned
from sinkscope.loading.load import Loaded
from sinkscope.methods.checkpoint.write import write_checkpoint
from sinkscope.methods.choose import Chosen
from sinkscope.mitigations.mitigation import Mitigation, Subject
from sinkscope.names import NONE
from sinkscope.progress.display import stage
from sinkscope.quantization.changes import compare
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.mitigated import calibration_of, readied
from sinkscope.quantization.saving import Row, best_of, check_place
from sinkscope.quantization.settings import QuantizationSettings


def hand_over(
    subject: Subject,
    loaded: Loaded,
    chosen: Chosen,
    mitigations: Mapping[str, Mitigation],
    calibration: dict[str, float],
    rows: list[Row],
    settings: QuantizationSettings,
    measurements: Measurements,
) -> None:
    """Writes one of some rows, and says in the measurements which, why and where.

    Args:
        subject: the unquantized model, and the text to calibrate on.
        loaded: the same model, with its tokenizer.
        chosen: the methods.
        mitigations: by name.
        calibration: the largest inputs by module of the unquantized model.
        rows: those that can be saved.
        settings: the request's.
        measurements: with the losses of all rows.

    Raises:
        SinkscopeError: if no row of them was measured, or the place is taken by now.
    """
    folder = settings.save
    assert folder is not None  # noqa: S101  (there are rows)
    losses = measurements.table("losses")
    losses = losses[losses["model"] == subject.label]
    table = compare(losses, chosen, measurements.windows, measurements.chose, seed=settings.seed)
    measured = [row for row in rows if ((table["method"] == row[0]) & (table["mitigation"] == row[1])).any()]
    if not measured:
        raise SinkscopeError(f"nothing is saved: {', '.join(map(str, rows))} was left out of {subject.label}")
    row, by = best_of(table, measured)
    by = "it was named" if settings.save_row is not None else by
    stage(f"saving {row}")
    mitigation = mitigations.get(row.mitigation, Mitigation(NONE))
    probes = {row.method: chosen.probes[row.method]}
    with closing(mitigation.variants(subject, probes)) as variants:  # type: ignore[type-var]
        variant = next(variants)
        known = calibration_of(subject, variant) if mitigation.changes_model else calibration
        calibrated, _ = readied(subject, mitigation, variant, row.method, known)
        with owned(folder), explained_failures(folder, "a checkpoint"), building_folder(folder.absolute()) as building:
            check_place(folder)
            written = write_checkpoint(variant.model, calibrated, loaded.tokenizer, building)
    measurements.saved = {
        "folder": str(folder), "method": row.method, "mitigation": row.mitigation, "by": by, "format": written.format
    }  # fmt: skip
    measurements.notes.append(f"{subject.label}, {row}: saved in {folder} as {written.format}; {by}.")
    if written.split:
        measurements.notes.append(
            f"{subject.label}, {row}: {written.split} is rounded and a module that vLLM fuses it with is not, which "
            "vLLM refuses; transformers reads the checkpoint."
        )
