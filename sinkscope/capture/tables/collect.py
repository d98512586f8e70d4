"""From a recorder's reductions to the declared tables: the last step that touches tensors.

One function per table.
"""

import pandas as pd

from sinkscope.capture.tables import attention_tables as attention
from sinkscope.capture.tables import bound_tables as bounds
from sinkscope.capture.tables import stream_tables as stream
from sinkscope.capture.tables.collected import Collected
from sinkscope.capture.tables.expert_tables import experts_tables
from sinkscope.capture.tables.modality_tables import modalities_tables


def tables(run: Collected) -> dict[str, pd.DataFrame]:
    """Every table of an analysis that applies to the model."""
    vscale = {"vscale": attention.vscale(run)} if run.valves else {}
    massive, counts = stream.massive(run), stream.massive_counts(run)
    tokens = run.sequence_tokens()
    experts = experts_tables(run.recorder, massive, counts, lambda sequence, at: run.token(tokens[sequence][at]))
    return {
        "heads": attention.heads(run),
        "layers": attention.layers(run),
        "sites": stream.sites(run),
        "positions": stream.positions(run),
        "branches": stream.branches(run),
        "bounds": bounds.bounds(run),
        "massive": massive,
        "massive_counts": counts,
        "values": attention.values(run),
        **vscale,
        "sequences": bounds.sequences(run),
        "slope_sums": bounds.slope_sums(run),
        "gradient_blocks": bounds.gradient_blocks(run),
        "sinks": attention.sinks(run),
        "sink_norms": attention.sink_norms(run),
        "maps": attention.maps(run),
        "map_tokens": attention.map_tokens(run),
        "scatter": bounds.scatter(run),
        **experts,
        **modalities_tables(run.recorder, tokens),
        **({"learned_sinks": attention.learned_sinks(run)} if run.recorder.learned_sinks else {}),
    }
