"""The model that a user of the library hands to a verb: a name, a source, or a model in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from sinkscope.errors import RequestError
from sinkscope.inputs import ModelSource
from sinkscope.keywords import ModelFields, made_of
from sinkscope.models.bare import bare_model


def model_source(
    model: str | Path | ModelSource | nn.Module, fields: Mapping[str, Any]
) -> tuple[ModelSource, PreTrainedModel | None]:
    """What a model stands for.

    Args:
        model: a name, a source with its options, or a model in memory, also inside what training wraps around it.
        fields: keyword arguments of a verb, among them those of `ModelSource`.

    Returns:
        The source, with the fields taken in, and the model in memory if it is one.

    Raises:
        RequestError: for fields beside a source or a model in memory, which would be passed over; for a module that is
            no causal LM.
    """
    given = [name for name in ModelFields.__annotations__ if name in fields]
    if given and not isinstance(model, str | Path):
        taker = "a loaded model" if isinstance(model, nn.Module) else "a ModelSource"
        raise RequestError(f"{taker} takes no loading options: {', '.join(given)}")
    if isinstance(model, nn.Module):
        return ModelSource(), bare_model(model)
    return (model if isinstance(model, ModelSource) else made_of(ModelSource, fields, name=str(model))), None
