"""The tables of a mixture of experts: `experts`, `router` and `routing`. Absent for dense models."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.capture.recorder import Recorder
from sinkscope.capture.statistics.expert_statistics import GROUPS, ExpertStatistics
from sinkscope.metrics.moments import kurtosis
from sinkscope.metrics.super_experts import super_experts
from sinkscope.tables.builder import Rows

TokenAt = Callable[[int, int], str]


def experts_tables(
    recorder: Recorder, massive: pd.DataFrame, counts: pd.DataFrame, token_at: TokenAt
) -> dict[str, pd.DataFrame]:
    """The tables of a model with experts; none of a dense one.

    Args:
        recorder: the reductions.
        massive: the table `massive` of the same run.
        counts: its table `massive_counts`.
        token_at: the token at a sequence and position.
    """
    if not recorder.experts:
        return {}
    return {
        "experts": _experts(recorder, forming_layers(massive, counts), token_at),
        "router": _router(recorder),
        "routing": _routing(recorder),
    }


def _experts(recorder: Recorder, forming: set[int], token_at: TokenAt) -> pd.DataFrame:
    layers = sorted(recorder.experts)
    peaks = np.stack([recorder.experts[layer].output_max.numpy() for layer in layers]).astype(float)
    used = np.stack([recorder.experts[layer].tokens.numpy() > 0 for layer in layers])
    are_super = super_experts(np.where(used, peaks, np.nan), np.isin(layers, list(forming)))
    rows = Rows("experts")
    for layer, flags in zip(layers, are_super, strict=True):
        _add(rows, layer, "routed", recorder.experts[layer], flags, token_at)
    for layer, shared in sorted(recorder.shared_experts.items()):
        _add(rows, layer, "shared", shared, np.zeros(1, dtype=bool), token_at)
    return rows.frame()


def _add(rows: Rows, layer: int, kind: str, of: ExpertStatistics, flags: Any, token_at: TokenAt) -> None:
    used = of.tokens.numpy() > 0
    medians = _medians(of)
    shapes = [
        kurtosis(count, sums) if count else np.nan
        for count, sums in zip(of.values.tolist(), of.power_sums, strict=True)
    ]
    sequence, position, channel = of.output_at.numpy().T
    rows.add(
        layer=layer,
        kind=kind,
        expert=np.arange(of.experts),
        tokens=of.tokens.numpy(),
        share=of.tokens.numpy() / max(int(of.tokens.sum()), 1),
        abs_max=np.where(used, of.abs_max.numpy(), np.nan),
        abs_median=medians,
        kurtosis=np.array(shapes),
        massive=of.massive.numpy(),
        output_abs_max=np.where(used, of.output_max.numpy(), np.nan),
        output_position=position,
        output_token=[token_at(s, p) if s >= 0 else "" for s, p in zip(sequence, position, strict=True)],
        output_channel=channel,
        is_super=flags,
    )


def _medians(of: ExpertStatistics) -> Any:
    """Median over sequences of each expert's medians, the lower of the two middle ones; null without tokens."""
    medians = np.full(of.experts, np.nan)
    values, expert = of.medians.rows(), of.median_of.rows()[:, 1] if len(of.medians.rows()) else None
    for e in [] if expert is None else expert.unique().tolist():
        medians[e] = float(values[expert == e].median())
    return medians


def _router(recorder: Recorder) -> pd.DataFrame:
    rows = Rows("router")
    for layer, routing in sorted(recorder.routing.items()):
        for group, name in enumerate(GROUPS):
            tokens, counts = int(routing.tokens[group]), routing.counts[group].numpy()
            if not tokens:
                continue
            with np.errstate(invalid="ignore", divide="ignore"):
                weight = routing.weights[group].numpy() / counts
            rows.add(
                layer=layer,
                expert=np.arange(routing.experts),
                group=name,
                tokens=counts,
                share=counts / tokens,
                weight=np.where(counts > 0, weight, np.nan),
            )
    return rows.frame()


def _routing(recorder: Recorder) -> pd.DataFrame:
    rows = Rows("routing")
    for layer, routing in sorted(recorder.routing.items()):
        for group, name in enumerate(GROUPS):
            tokens = int(routing.tokens[group])
            if not tokens:
                continue
            rows.add(
                layer=layer,
                group=name,
                tokens=tokens,
                entropy=float(routing.entropy[group]) / tokens,
                **{f"overlap_{other}": routing.overlap(group, number) for number, other in enumerate(GROUPS)},
            )
    return rows.frame()


def forming_layers(massive: pd.DataFrame, counts: pd.DataFrame) -> set[int]:
    """Layers that form massive activations: h_out has one at a place where the layer before has none.

    In a sequence where the layer before has more of them than are listed, it is not known which are new, and none is
    taken for it.

    Args:
        massive: the table `massive`; a place is a sequence, a position and a channel.
        counts: the table `massive_counts`.
    """
    entries = massive[massive["is_massive"] & (massive["site"] == "h_out")]
    places: dict[tuple[int, int], set[tuple[int, ...]]] = {}
    for layer, sequence, *place in entries[["layer", "sequence", "position", "channel"]].to_numpy().tolist():
        places.setdefault((layer, sequence), set()).add(tuple(place))
    there = counts[counts["site"] == "h_out"][["layer", "sequence", "entries"]].to_numpy().tolist()
    unlisted = {(layer, sequence) for layer, sequence, n in there if n > len(places.get((layer, sequence), ()))}
    return {
        layer
        for (layer, sequence), here in places.items()
        if (layer - 1, sequence) not in unlisted and here - places.get((layer - 1, sequence), set())
    }
