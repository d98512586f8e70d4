"""Running a model over windows of text, for all verbs: micro-batches of the windows, and the losses of their tokens."""
