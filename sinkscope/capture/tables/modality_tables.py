"""The tables of a model that reads images: `token_kinds` and `modalities`. Absent for models of text alone."""

import numpy as np
import pandas as pd
import torch

from sinkscope.capture.recorder import Recorder
from sinkscope.capture.statistics.modality_statistics import KINDS, kinds
from sinkscope.metrics.sinks import defined_positions
from sinkscope.tables.builder import Rows


def modalities_tables(recorder: Recorder, tokens: list[list[int]]) -> dict[str, pd.DataFrame]:
    """The tables of a model that reads images; none of one that does not.

    Args:
        recorder: the reductions.
        tokens: the token ids of every sequence, without padding.
    """
    if not recorder.image_ids:
        return {}
    of_sequences = [kinds(torch.tensor([row]), recorder.image_ids)[0].numpy() for row in tokens]
    images = [np.isin(row, recorder.image_ids) for row in tokens]
    return {"token_kinds": _token_kinds(images), "modalities": _modalities(recorder, of_sequences)}


def _token_kinds(images: list[np.ndarray]) -> pd.DataFrame:
    rows = Rows("token_kinds")
    for sequence, image in enumerate(images):
        starts = np.flatnonzero(np.diff(image, prepend=not image[0]))
        for start, stop in zip(starts, [*starts[1:], len(image)], strict=True):
            rows.add(sequence=sequence, start=start, stop=stop, kind="image" if image[start] else "text")
    return rows.frame()


def _modalities(recorder: Recorder, of_sequences: list[np.ndarray]) -> pd.DataFrame:
    rows = Rows("modalities")
    window = recorder.settings.sink_window
    judged = np.zeros(len(KINDS), dtype=int)
    for of_sequence in of_sequences:
        judged += np.bincount(of_sequence[: defined_positions(len(of_sequence), window)], minlength=len(KINDS))
    for layer, statistics in sorted(recorder.modalities.items()):
        sinks = recorder.heads[layer].sinks.rows()[:, [0, 2]].unique(dim=0).cpu().numpy()
        sink_counts = np.bincount([of_sequences[s][p] for s, p in sinks], minlength=len(KINDS)).astype(int)
        for index, kind in enumerate(KINDS):
            tokens = int(statistics.tokens[index])
            if not tokens:
                continue
            rows.add(
                layer=layer,
                kind=kind,
                tokens=tokens,
                judged=judged[index],
                sinks=sink_counts[index],
                sink_share=sink_counts[index] / judged[index] if judged[index] else np.nan,
                norm=float(statistics.norms[index]) / tokens,
                norm_max=float(statistics.norm_max[index]),
                abs_max=float(statistics.abs_max[index]),
            )
    return rows.frame()
