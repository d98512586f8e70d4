"""A slow reference for every table of an analysis, independent of the measuring code.

It holds whole attention maps from transformers' eager attention, whole gradients from autograd, and every statistic is
an explicit loop in float64 over sequences, heads and positions, written from the equations of docs/definitions.md
alone. Nothing here imports from `sinkscope.capture` or `sinkscope.metrics`: an error there cannot be copied.

    measured = measure(model, input_ids)                 # tensors, one record per sequence
    tables = reference_tables(measured, Settings())      # DataFrames, as declared in sinkscope.tables.columns
"""

from reference.eager import Layer, Measured, Sequence, measure
from reference.tables import reference_tables

__all__ = ["Layer", "Measured", "Sequence", "measure", "reference_tables"]
