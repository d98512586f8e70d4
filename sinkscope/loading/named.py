"""The model that a user of the library hands to a verb: a name, a source, or a model in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sinkscope.errors import RequestError
from sinkscope.inputs import ModelSource
from sinkscope.keywords import ModelFields, made_of


def model_source(
    model: str | Path | ModelSource | PreTrainedModel, fields: Mapping[str, Any]
) -> tuple[ModelSource, PreTrainedModel | None]:
    """What a model stands for.

    Args:
        model: a name, a source with its options, or a model in memory.
        fields: keyword arguments of a verb, among them those of `ModelSource`.

    Returns:
        The source, with the fields taken in, and the model in memory if it is one.

    Raises:
        RequestError: for fields beside a source or a model in memory, which would be passed over.
    """
    given = [name for name in ModelFields.__annotations__ if name in fields]
    if given and not isinstance(model, str | Path):
        taker = "a loaded model" if isinstance(model, PreTrainedModel) else "a ModelSource"
        raise RequestError(f"{taker} takes no loading options: {', '.join(given)}")
    if isinstance(model, PreTrainedModel):
        return ModelSource(), model
    return (model if isinstance(model, ModelSource) else made_of(ModelSource, fields, name=str(model))), None
