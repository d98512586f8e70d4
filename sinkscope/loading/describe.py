"""What a run says about the model it measured."""

import hashlib
from typing import Any

import torch
from transformers import PreTrainedModel

from sinkscope.files.sealed import content_hash
from sinkscope.models.families import family_of
from sinkscope.models.shape import shape_of
from sinkscope.vscale.attach import attached

_OF_THE_COPY = ("_name_or_path", "transformers_version")  # where a configuration lies, and who wrote it down


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


def config_sha256(model: PreTrainedModel) -> str:
    """Hash of a model's configuration as it is in force, whatever file said it; weights alone do not make a model."""
    config = model.config.to_dict()
    return content_hash({key: value for key, value in config.items() if key not in _OF_THE_COPY})


def valves_sha256(model: PreTrainedModel) -> str | None:
    """Hash of every layer's C; the hash of the weights is that of the base alone."""
    valves = attached(model)
    if not valves:
        return None
    constants = torch.cat([valve.C.detach().cpu().float() for valve in valves])
    return hashlib.sha256(constants.numpy().tobytes()).hexdigest()
