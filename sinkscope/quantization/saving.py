"""Which row of a comparison becomes a checkpoint: what can be saved, and what is best of that.

A row is a method under a mitigation, `w4g128` or `smooth/w8a8-static`. Named or not, it is known before a model is
loaded whether there is one that can be saved: the method has a scheme (`methods.checkpoint.schemes`), and the
mitigation leaves all that it does in weights, ranges, or modules that stay as they are.

Best is the row of the fewest bits, of weights and then of inputs, whose change of the loss is at most `BOUND` by the
upper end of its interval. Where none is, it is the row whose upper end is lowest, and without intervals the one of the
lowest change; the run says so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import pandas as pd
from transformers import PreTrainedModel

from sinkscope.errors import RequestError
from sinkscope.files.owner import owned
from sinkscope.methods.checkpoint import schemes
from sinkscope.methods.choose import Chosen
from sinkscope.methods.grammar import canonical
from sinkscope.methods.probes import Probe
from sinkscope.mitigations.mitigation import Mitigation
from sinkscope.names import NONE
from sinkscope.quantization.settings import QuantizationSettings

BOUND = 0.05
"""Nats per token: a perplexity 5 % higher."""
_UNROUNDED = 16  # bits, of inputs that are left alone


class Row(NamedTuple):
    """A method under a mitigation, or under none."""

    method: str
    mitigation: str = NONE

    def __str__(self) -> str:
        return self.method if self.mitigation == NONE else f"{self.mitigation}/{self.method}"


def rows_to_save(settings: QuantizationSettings, chosen: Chosen, mitigations: Mapping[str, Mitigation]) -> list[Row]:
    """The rows among which one is going to be saved: the named one, or all that can be; none where none is wanted.

    Raises:
        RequestError: if there is none, or the place is taken.
    """
    if settings.save is None:
        return []
    schemes.check_library()
    check_place(settings.save)
    if settings.save_row is not None:
        row = _named(settings.save_row, chosen, mitigations)
        why = _obstacle(row, chosen, mitigations)
        if why:
            raise RequestError(f"`save_row={row}` cannot be saved: {why}; what can be: {_can(chosen, mitigations)}")
        return [row]
    found = _saveable(chosen, mitigations)
    if not found:
        raise RequestError(f"`save` finds no method that can be saved among `methods`; what can be: {schemes.CAN}")
    return found


def check_place(folder: Path) -> None:
    """Refuses a place that a checkpoint could not take in the end.

    Raises:
        RequestError: if something is there.
    """
    with owned(folder):  # also says where nothing can be written beside it
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise RequestError(f"{folder} is a link, or no folder: choose another place to `save`")
        if folder.is_dir() and any(folder.iterdir()):
            raise RequestError(f"{folder} exists and is not empty: choose another place to `save`")


def refuse_model(rows: list[Row], chosen: Chosen, model: PreTrainedModel) -> list[Row]:
    """Those of the rows that can be saved of a model.

    Raises:
        RequestError: if there is none.
    """
    left, refused = [], None
    for row in rows:
        try:
            schemes.refuse_model(chosen.probes[row.method], model)
        except RequestError as error:
            refused = error
        else:
            left.append(row)
    if refused is not None and not left:
        raise refused
    return left


def best_of(table: pd.DataFrame, rows: list[Row]) -> tuple[Row, str]:
    """The best of some rows, and by what it is that, in words.

    Args:
        table: the table `quantization` of one model.
        rows: those that can be saved; all were measured.
    """
    wanted = table[[Row(*pair) in rows for pair in zip(table["method"], table["mitigation"], strict=True)]]
    within = wanted[wanted["delta_high"] <= BOUND]
    if len(within):
        order = within.assign(inputs=within["activation_bits"].fillna(_UNROUNDED))
        first = order.sort_values(["weight_bits", "inputs", "delta"], kind="stable").iloc[0]
        words = f"the fewest bits with a change of at most {BOUND:g} nats per token"
    elif wanted["delta_high"].isna().all():
        first = wanted.sort_values("delta", kind="stable").iloc[0]
        words = "the lowest change of the loss, as there are too few sequences for intervals"
    else:
        first = wanted.sort_values("delta_high", kind="stable").iloc[0]
        words = f"the lowest upper end of its interval, as none changes by at most {BOUND:g} nats per token"
    return Row(cast("str", first["method"]), cast("str", first["mitigation"])), words


def _named(name: str, chosen: Chosen, mitigations: Mapping[str, Mitigation]) -> Row:
    mitigation, _, method = name.rpartition("/")
    row = Row(canonical(method), mitigation or NONE)
    if row.method not in chosen.order:
        raise RequestError(f"`save_row={name}` names none of `methods`: {', '.join(chosen.order)}")
    if row.mitigation not in (NONE, *mitigations):
        raise RequestError(f"`save_row={name}` names none of `mitigate`: {', '.join([NONE, *mitigations])}")
    return row


def _saveable(chosen: Chosen, mitigations: Mapping[str, Mitigation]) -> list[Row]:
    rows = [Row(method, under) for under in (NONE, *mitigations) for method in chosen.probes]
    return [row for row in rows if not _obstacle(row, chosen, mitigations)]


def _obstacle(row: Row, chosen: Chosen, mitigations: Mapping[str, Mitigation]) -> str:
    probe = chosen.probes.get(row.method)
    if not isinstance(probe, Probe):
        return "it is none of the probes, whose codes and scales are known here"
    mitigation = mitigations.get(row.mitigation)
    if mitigation is not None and mitigation.not_in_weights:
        return f"{row.mitigation} {mitigation.not_in_weights}, which a checkpoint cannot hold"
    if mitigation is not None and not mitigation.applies_to(probe):
        return f"{row.mitigation} makes no difference to it"
    return schemes.obstacle_of(probe)


def _can(chosen: Chosen, mitigations: Mapping[str, Mitigation]) -> str:
    """What can be saved, in words: rows of this request first."""
    here = ", ".join(map(str, _saveable(chosen, mitigations)))
    return f"{here} of this request" if here else schemes.CAN
