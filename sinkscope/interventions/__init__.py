"""Taking something away from a model while a `with` block lasts: activations, channels, weights, attention.

Each intervention is a context manager that leaves the model as it was, bit for bit. They stack: one inside another
acts on what the other left. What is measured under them is measured with them, since hooks on layers stand before
those that record, and the attention tap reads the edits. `sinkscope.ablation` reads from a run what to take away.
"""
