"""What an ablation shows, in words and cells: one source for the first page and the terminal.

A sentence gathers the interventions that end alike: by the verdict on their perplexity against the untouched model's,
and by how that compares with the control. Both follow from intervals and the run's margin; every intervention is
named with its change, the change's interval and that of its control.
"""

import math
from typing import Any

import pandas as pd

from sinkscope.intervals import verdicts
from sinkscope.report.text import counted, number, printable
from sinkscope.report.under import under
from sinkscope.tables.run_folder import Run

HEADER = ("Intervention", "Where", "Size", "Perplexity", "Change", "95 % interval", "Control", "95 % interval",
          "Verdict", "Against control")  # fmt: skip
NONE = "none"
_PUBLISHED = "published"
ALONE = "alone"
"""What the place of an intervention in a single layer says."""

_AGAINST_MODEL = {
    verdicts.WORSE: "Perplexity is worse, by more than {margin}",
    verdicts.WORSE_UNSIZED: "Perplexity is worse, whether by more than {margin} is unclear",
    verdicts.BETTER: "Perplexity is better, by more than {margin}",
    verdicts.BETTER_UNSIZED: "Perplexity is better, whether by more than {margin} is unclear",
    verdicts.UNCHANGED: "Perplexity stays within {margin} of the untouched model's",
    verdicts.UNCLEAR: "Whether perplexity changes by more than {margin} is unclear",
    verdicts.NO_INTERVAL: "Without an interval, as there are too few sequences or the loss is not finite",
}
_AGAINST_CONTROL = {
    verdicts.WORSE: "worse than with as much taken away at random",
    verdicts.WORSE_UNSIZED: "worse than with as much taken away at random",
    verdicts.BETTER: "better than with as much taken away at random",
    verdicts.BETTER_UNSIZED: "better than with as much taken away at random",
    verdicts.UNCHANGED: "as with as much taken away at random",
    verdicts.UNCLEAR: "not told from as much taken away at random",
    verdicts.NO_INTERVAL: "",
    verdicts.NOT_JUDGED: "without a control",
}


def steps(run: Run) -> pd.DataFrame:
    """The interventions of a run, without the untouched model."""
    table = run["ablations"]
    return table[table["what"] != NONE].reset_index(drop=True)


def together(run: Run) -> pd.DataFrame:
    """The interventions of a run but for those in one layer alone, which have a page of their own."""
    rows = steps(run)
    return rows[~rows["where"].str.contains(ALONE)].reset_index(drop=True)


def label(what: object, where: object) -> str:
    """An intervention in one line."""
    return printable(f"{what}, {where}", 60)


def subtitle(run: Run) -> str:
    """What the run is about, in one line."""
    model = run.info["model"]
    name = f"{printable(model['name'], 70, keep_end=True)} {under(model)}".rstrip()
    return f"{name} on {printable(run.info['data']['source'], 40, keep_end=True)}"


def text_line(run: Run) -> str:
    """How much of which text was read, and what the numbers are."""
    data, settings, origin = run.info["data"], run.info["settings"], run.info["from"]
    sequences = counted(data["sequences"], "sequence")
    source = "measured first" if origin["name"] is None else f"read from {printable(origin['name'], 40)}"
    return (
        f"{sequences} of {number(data['tokens'])} tokens. What to take away was {source}. Change: loss minus that of "
        "the untouched model on the same tokens, nats per token. Control: "
        f"{counted(settings['draws'], 'random draw')} of the same size, mean."
    )


def cells(run: Run) -> list[tuple[str, ...]]:
    """The rows of the table: the untouched model, and every intervention but those in one layer alone."""
    table = run["ablations"]
    rows: Any = pd.concat([table[table["what"] == NONE], together(run)]).itertuples()
    return [
        (
            printable(row.what),
            printable(row.where, 34),
            "" if row.what == NONE else size(row.size),
            number(float(row.perplexity), 4) if math.isfinite(row.loss) else "not finite",
            signed(row.change),
            interval(row.change_low, row.change_high),
            signed(row.control_change),
            interval(row.control_change_low, row.control_change_high),
            "" if row.what == NONE else row.verdict,
            "" if row.what == NONE else row.control_verdict,
        )
        for row in rows
    ]


def findings(run: Run) -> list[str]:
    """Sentences chosen by the numbers, which they quote."""
    table, margin = together(run), f"{100 * (run.info['settings']['margin'] - 1):.0f} %"
    notes = [f"Left out: {printable(note, 300)}." for note in run.info["notes"]]
    if table.empty:
        return ["Nothing was taken away.", *notes]
    sentences = []
    for verdict, opening in _AGAINST_MODEL.items():
        of_verdict = table[table["verdict"] == verdict]
        for ending in dict.fromkeys(_AGAINST_CONTROL.values()):
            alike = of_verdict[of_verdict["control_verdict"].map(_AGAINST_CONTROL) == ending]
            if alike.empty:
                continue
            how = f"{opening.format(margin=margin)}, and {ending}" if ending else opening.format(margin=margin)
            rows: Any = alike.itertuples()
            sentences.append(f"{how}: {'; '.join(_told(row) for row in rows)}.")
    if len(run["super_weights"]):
        sentences.append(super_weights(run))
    return [*sentences, *notes]


def weight_names(run: Run) -> list[str]:
    """Each weight in a line: where it is, what it is, and whether it is a published one."""
    rows: Any = run["super_weights"].itertuples()
    return [
        f"{row.layer}, {row.row}, {row.column}"
        + (f": {number(float(row.value))}" if row.value == row.value else "")
        + (f" ({row.source})" if _PUBLISHED in row.source else "")
        for row in rows
    ]


def super_weights(run: Run) -> str:
    """How many were found, and how many of the published ones."""
    sources = run["super_weights"]["source"]
    found, published = (int(sources.str.contains(word).sum()) for word in ("found", _PUBLISHED))
    both = int((sources == "found, published").sum())
    beside = f"; {both} of {counted(published, 'published one')} of this model among them" if published else ""
    return f"{counted(found, 'super weight')} found by one forward pass{beside}: {'; '.join(weight_names(run)[:3])}."


def signed(value: float) -> str:
    """A change with its sign, to three decimals; nothing where there is none."""
    return "" if math.isnan(value) else f"{value:+.3f}"


def interval(low: float, high: float) -> str:
    """An interval of a change; nothing where there is none."""
    return "" if math.isnan(low) or math.isnan(high) else f"{low:+.3f} to {high:+.3f}"


def size(value: float) -> str:
    """How much was taken away."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _told(row: Any) -> str:
    own = _with_interval(row.change, row.change_low, row.change_high)
    if not row.draws:
        return f"{label(row.what, row.where)} {own}"
    control = _with_interval(row.control_change, row.control_change_low, row.control_change_high)
    return f"{label(row.what, row.where)} {own}, control {control}"


def _with_interval(value: float, low: float, high: float) -> str:
    within = interval(low, high)
    return (signed(value) or "not finite") + (f" ({within})" if within else "")
