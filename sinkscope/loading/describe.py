"""What a run says about the model it measured."""

from typing import Any

from transformers import PreTrainedModel

from sinkscope.models.families import family_of
from sinkscope.models.shape import shape_of
from sinkscope.vscale.attach import attached


def describe(model: PreTrainedModel) -> dict[str, Any]:
    """Name, shape and dtype of a model, as run.json records them; `Loaded.description` adds what loading knows.

    Raises:
        SinkscopeError: for an unknown architecture.
    """
    config = model.config
    family = family_of(model)
    shape = shape_of(family, config)
    valves = attached(model)
    return {
        "name": config.name_or_path or type(model).__name__,
        "revision": None,
        "weights_sha256": None,
        "sha256": None,
        "family": family.model_type,
        "layers": len(family.decoder_layers(model)),
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "hidden_size": shape.hidden_size,
        "head_dim": shape.head_dim,
        "parameters": model.num_parameters(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantization": None,
        "vscale": valves[0].variant if valves else None,
    }
