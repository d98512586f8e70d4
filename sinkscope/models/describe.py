"""What a run says about the model it measured."""

from typing import Any

from transformers import PreTrainedModel

from sinkscope.models.families import family_of
from sinkscope.vscale.retrofit import attached, kv_heads


def describe(model: PreTrainedModel) -> dict[str, Any]:
    """Name, shape and dtype of a model, as run.json records them; `Loaded.description` adds what loading knows.

    Raises:
        SinkscopeError: for an unknown architecture.
    """
    config = model.config
    family = family_of(model)
    valves = attached(model)
    return {
        "name": config.name_or_path or type(model).__name__,
        "revision": None,
        "weights_sha256": None,
        "family": family.model_type,
        "layers": len(family.decoder_layers(model)),
        "heads": config.num_attention_heads,
        "kv_heads": kv_heads(model),
        "hidden_size": config.hidden_size,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        "parameters": model.num_parameters(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantization": None,
        "vscale": valves[0].variant if valves else None,
    }
