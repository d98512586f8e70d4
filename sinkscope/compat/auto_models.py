"""Which model types transformers knows, and as what.

Needed: a checkpoint whose architecture cannot be measured is refused with the reason (an encoder, no language model at
all), by the `model_type` in its config.json and before anything is built. The tables from model types to class names
are what the auto classes read.

Public alternative: none; an auto class can only be asked to build a model.
"""

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

__all__ = ["MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_MASKED_LM_MAPPING_NAMES"]
