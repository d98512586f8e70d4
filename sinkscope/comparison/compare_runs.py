"""From analyses to a run of kind `comparison`.

The first run is the reference. Runs that share a name are seeds of one training; their mean is compared. Single runs
get bootstrap intervals over sequences, names with several runs intervals over seeds; docs/comparison.md says how.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.comparison.conditions import (
    check_pairs,
    check_quantized,
    check_runs,
    mismatches,
    quantized_mismatches,
    same_windows,
)
from sinkscope.comparison.settings import ComparisonSettings
from sinkscope.comparison.stacked import stacked, stacked_quantization
from sinkscope.errors import RequestError
from sinkscope.intervals import limits as intervals
from sinkscope.intervals.limits import Drawn
from sinkscope.intervals.sample import Resampled, Sample
from sinkscope.intervals.verdicts import MARGIN, NOT_JUDGED, NOT_MEASURED, REFERENCE, verdict
from sinkscope.provenance.begin import TABLE_LIBRARIES, begin, library_versions
from sinkscope.quantities.quantity import Quantity
from sinkscope.quantities.rows import compared
from sinkscope.report.under import under
from sinkscope.tables.applicability import sentences
from sinkscope.tables.builder import Rows
from sinkscope.tables.headline import number
from sinkscope.tables.run_folder import Run

CONVENTIONS = {
    "reference": "the first run; ratio = value / value of the reference",
    "level": "95 % intervals",
    "one run per name": "Student's t with the spread of bootstrap draws of sequences, on logarithms; gradient-sink "
    "ratios over blocks of sequences, each squared norm divided by the excess that resampling gives it; on the same "
    "windows runs share their draws (paired)",
    "several runs per name": "mean over seeds; Student's t on logarithms, degrees of freedom of the smaller group, "
    "variance over seeds plus the bootstrap's over sequences; with paired_seeds the variance over pairs of seeds",
    "seeds_needed": "smallest number of seeds per name whose interval would leave out 1 in four of five repetitions, "
    "ratio and spread as measured",
    "unchanged": "1/margin <= ratio_low and ratio_high <= margin",
    "suppressed (perplexity: better)": "ratio_high < 1/margin",
    "grown (perplexity: worse)": "ratio_low > margin",
    "lower (better), size unclear": "1/margin <= ratio_high < 1, and not unchanged",
    "higher (worse), size unclear": "1 < ratio_low <= margin, and not unchanged",
    "unclear": "any other interval",
    "no interval": "the ratio, or its interval, is undefined or cannot be had: too few sequences, a metric that no "
    "text changes, a single training against several",
    "not judged": "a ratio of this metric means nothing (loss: judged by perplexity)",
}


@dataclass(frozen=True)
class _Measured:
    """A metric of one run: its value, and its bootstrap draws where it has any."""

    value: float
    draws: Drawn | None


def compare_runs(
    runs: Sequence[Run],
    names: Sequence[str],
    *,
    allow_mismatch: bool = False,
    notes: Sequence[str] = (),
    margin: float = MARGIN,
    paired_seeds: bool = False,
    draws: int = intervals.DRAWS,
    seed: int = 0,
    quantized: Mapping[str, Run] | None = None,
) -> Run:
    """Compares analyses with the first of them.

    Args:
        runs: runs of kind `analysis`, the reference first.
        names: a name for each. Runs that share a name are seeds of one training and are averaged.
        allow_mismatch: compare runs on different data, or with different settings, all the same; every page then says
            so, and intervals are unpaired where the windows differ.
        notes: sentences for the report's first page, above the table.
        margin: ratios within 1/margin .. margin count as the same; above 1.
        paired_seeds: the n-th runs of all names are a pair: same initialization, same batches.
        draws: how many bootstrap draws.
        seed: of the draws.
        quantized: runs of kind `quantization` by name, whose losses are shown side by side as they are.

    Returns:
        A run with the table `comparison` and those of `sinkscope.comparison.stacked`.

    Raises:
        SinkscopeError: for fewer than two names, runs that cannot be compared, and, without `allow_mismatch`, runs on
            different data or with different settings; the message names what differs.
    """
    settings = ComparisonSettings(allow_mismatch, margin, paired_seeds, draws, seed)
    check_runs(runs, names)
    if paired_seeds:
        check_pairs(names)
    quantized = quantized or {}
    check_quantized(quantized)
    differing = mismatches(runs, names) + quantized_mismatches(quantized)
    if differing and not allow_mismatch:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise RequestError(
            f"the runs differ in {'; '.join(differing[:3])}{more}: measure them alike, or use `allow_mismatch`"
        )
    paired = all(same_windows(runs[0], run) for run in runs[1:])
    streams = [0] * len(runs) if paired else list(range(len(runs)))
    measured = [_measure(run, draws, seed, stream) for run, stream in zip(runs, streams, strict=True)]
    groups = {name: [each for each, other in zip(measured, names, strict=True) if other == name] for name in names}
    table = _comparison(groups, margin, paired_seeds=paired_seeds)
    seeds = [list(names[:index]).count(name) for index, name in enumerate(names)]
    layers = {run.info["model"]["layers"] for run in runs}
    info = begin(
        "comparison",
        reference=names[0],
        runs=[_provenance(name, runs, names) for name in groups],
        notes=[*notes, *_same_weights(runs, names), *_absences(runs, names)],
        mismatches=differing,
        paired=paired,
        layers_differ=len(layers) > 1,
        settings={"backward": any(run.backward for run in runs), **asdict(settings)},
        conventions={**CONVENTIONS, **_own_margins()},
        versions=library_versions(TABLE_LIBRARIES),
        headline=_headline(table),
    )
    return Run(info, {"comparison": table, **stacked(runs, names, seeds), **stacked_quantization(quantized)})


def _own_margins() -> dict[str, str]:
    return {row.name: f"has a margin of its own, {row.margin}" for row in compared() if row.margin is not None}


def _same_weights(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Which runs are of the same weights under different methods: one hash, several models."""
    alike: dict[str, dict[str, str]] = {}
    for run, name in zip(runs, names, strict=True):
        model = run.info["model"]
        if model.get("weights_sha256"):
            alike.setdefault(model["weights_sha256"], {})[name] = under(model) or "as they are"
    return [
        f"The weights of {' and '.join(manners)} are the same (sha256 {sha256[:8]}): "
        f"{', '.join(f'{name} {manner}' for name, manner in manners.items())}."
        for sha256, manners in alike.items()
        if len(set(manners.values())) > 1
    ]


def _absences(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """What does not apply to the architectures of the runs, in sentences."""
    absences = [f"{name}: {sentence}" for name, run in zip(names, runs, strict=True) for sentence in sentences(run)]
    return list(dict.fromkeys(absences))  # once for all seeds


def _measure(run: Run, draws: int, seed: int, stream: int) -> dict[str, _Measured]:
    """Every metric of a run."""
    whole, resampled = Sample(run), Resampled(run, draws, seed, stream)
    measured = {}
    for metric in compared():
        if metric.over_layers is not None:
            value = float(metric.over_layers(whole)[0])
            measured[metric.name] = _Measured(value, resampled.drawn(metric.over_layers))
        else:
            known = number(run, metric)
            measured[metric.name] = _Measured(np.nan if known is None else float(known), None)
    return measured


def _comparison(groups: dict[str, list[dict[str, _Measured]]], margin: float, *, paired_seeds: bool) -> pd.DataFrame:
    rows = Rows("comparison")
    reference = next(iter(groups))
    for metric in compared():
        members = {name: [values[metric.name] for values in group] for name, group in groups.items()}
        for name, group in members.items():
            value, (low, high) = _value(metric, group)
            ratio, ratio_low, ratio_high, needed = np.nan, np.nan, np.nan, np.nan
            if metric.judged and name != reference:
                ratio, (ratio_low, ratio_high), needed = _ratio(group, members[reference], paired_seeds=paired_seeds)
            word = NOT_JUDGED
            if metric.judged:
                word = verdict(ratio_low, ratio_high, metric.margin or margin, cost=metric.cost)
            word = REFERENCE if name == reference else word
            rows.add(metric=metric.name, run=name, value=value, low=low, high=high, ratio=ratio, ratio_low=ratio_low,
                     ratio_high=ratio_high, seeds_needed=needed,
                     verdict=NOT_MEASURED if np.isnan(value) else word)  # fmt: skip
    return rows.frame()


def _value(metric: Quantity, group: list[_Measured]) -> tuple[float, intervals.Interval]:
    """Mean over seeds with its interval."""
    value, draws = _mean(group)
    values = np.array([member.value for member in group])
    if len(group) == 1:
        low, high = intervals.resampled(value, draws)
    elif metric.judged:
        variance = intervals.spread_of_mean(values) + intervals.log_variance(draws)
        low, high = intervals.over_seeds(value, variance, len(group) - 1)
    else:
        low, high = intervals.over_seeds_linear(values, intervals.variance(draws))
    return value, (low, high if np.isnan(high) else min(high, metric.ceiling))


def _ratio(
    group: list[_Measured], reference: list[_Measured], *, paired_seeds: bool
) -> tuple[float, intervals.Interval, float]:
    """Ratio of the means over seeds, its interval, and how many seeds would set it apart from 1."""
    (above, draws_above), (below, draws_below) = _mean(group), _mean(reference)
    if not (above >= 0 and below > 0):
        return np.nan, intervals.NONE, np.nan
    ratio = above / below
    draws = None
    if draws_above is not None and draws_below is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = draws_above.values / draws_below.values
        draws = Drawn(quotients, min(draws_above.units, draws_below.units))
    if len(group) == len(reference) == 1:
        varies = any(each is not None and each.varies for each in (draws_above, draws_below))
        return ratio, intervals.from_draws(ratio, draws) if varies else intervals.NONE, np.nan
    values = [np.array([each.value for each in side]) for side in (group, reference)]
    spreads = [intervals.spread_of_mean(each) for each in values]
    of_seeds = intervals.spread_of_paired_ratio(*values) if paired_seeds else sum(spreads)
    of_text = intervals.log_variance(draws)
    of_one = of_seeds * len(group) if paired_seeds else sum(s * len(v) for s, v in zip(spreads, values, strict=True))
    limits = intervals.over_seeds(ratio, of_seeds + of_text, min(len(group), len(reference)) - 1)
    return ratio, limits, intervals.seeds_needed(ratio, of_one, of_text)


def _mean(group: list[_Measured]) -> tuple[float, Drawn | None]:
    """Mean over seeds of the values, and of the draws, draw by draw."""
    value = float(np.mean([member.value for member in group]))
    draws = [member.draws for member in group if member.draws is not None]
    if not draws:
        return value, None
    return value, Drawn(np.mean([each.values for each in draws], axis=0), min(each.units for each in draws))


def _provenance(name: str, runs: Sequence[Run], names: Sequence[str]) -> dict[str, Any]:
    """What is known of the runs of one name."""
    members = [run.info for run, other in zip(runs, names, strict=True) if other == name]
    keys = ("model", "data", "settings", "device", "versions", "sinkscope", "created", "command", "headline")
    return {
        "name": name,
        "seeds": len(members),
        "layers": members[0]["model"]["layers"],
        "measured": [{key: info[key] for key in keys if key in info} for info in members],
    }


def _headline(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Value, ratio and verdict by metric and run, for run.json."""
    headline: dict[str, dict[str, Any]] = {}
    for row in table.to_dict("records"):
        headline.setdefault(str(row["metric"]), {})[str(row["run"])] = {
            key: row[key] for key in ("value", "ratio", "ratio_low", "ratio_high", "verdict")
        }
    return headline
