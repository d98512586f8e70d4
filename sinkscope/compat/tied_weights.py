"""Weights that a model shares between two names.

Needed: a saved model holds a tied weight once, so one of its names is missing from the file without being lost.
transformers' classes list those names in `_tied_weights_keys`.

Public alternative: none in transformers 5.23.
"""

from transformers import PreTrainedModel


def tied_names(model: PreTrainedModel) -> set[str]:
    """The names of a model's parameters that stand for another parameter; empty where the model ties none."""
    return set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
