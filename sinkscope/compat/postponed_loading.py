"""transformers' loading of weights, stopped before it begins and done later in parts.

Needed: `from_pretrained` builds every model on the meta device, and one static method then fills it from the files:
`PreTrainedModel._load_pretrained_model`. Replacing that method leaves the skeleton, the list of files and the
configuration of the loading (names converted, experts merged, weights cast or quantized, put on a device). The function
that the method calls for this, `core_model_loading.convert_and_load_state_dict_in_model`, takes any part of the
tensors, and `rename_source_key` says which parameter a stored tensor becomes.

Public alternative: a `from_pretrained` that returns the skeleton with a way to load some of its modules.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from transformers import PreTrainedModel, core_model_loading
from transformers.modeling_utils import LoadStateDictConfig

__all__ = ["LoadStateDictConfig", "convert_and_load_", "loading_replaced", "renaming"]

# Takes a skeleton, its files and how transformers would load them; returns what transformers reports of a loading.
Loader = Callable[[PreTrainedModel, list[str], LoadStateDictConfig], Any]


@contextmanager
def loading_replaced(load: Loader) -> Iterator[None]:
    """Inside the `with` block, `from_pretrained` calls `load` where it would fill a model from its files."""

    def replacement(model: Any, _state: Any, files: Any, config: LoadStateDictConfig, *_: Any, **__: Any) -> Any:
        return load(model, list(files), config), None

    with mock.patch.object(PreTrainedModel, "_load_pretrained_model", staticmethod(replacement)):
        yield


def convert_and_load_(
    model: PreTrainedModel,
    tensors: dict[str, torch.Tensor],
    config: LoadStateDictConfig,
    device: torch.device | str,
    *,
    quantize: bool = True,
) -> Any:
    """Loads some tensors into a model, in place, converted as transformers would.

    Args:
        model: the model or skeleton.
        tensors: by the names they are stored under.
        config: how.
        device: where to.
        quantize: False leaves the quantization out that `config` may ask for.

    Returns:
        What transformers reports: keys that are missing, left over or of another shape, and more.
    """
    config = replace(config, device_map={"": device})
    if not quantize:
        config = replace(config, hf_quantizer=None)
    return core_model_loading.convert_and_load_state_dict_in_model(model, tensors, config)[0]


def renaming(model: PreTrainedModel, config: LoadStateDictConfig) -> Callable[[str], str]:
    """The function from the name that a tensor is stored under to that of the parameter it becomes (a part of)."""
    mapping = config.weight_mapping or []
    renamings = [entry for entry in mapping if isinstance(entry, core_model_loading.WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, core_model_loading.WeightConverter)]
    names = model.state_dict()

    def rename(key: str) -> str:
        renamed: str
        renamed, _ = core_model_loading.rename_source_key(key, renamings, converters, model.base_model_prefix, names)
        return renamed

    return rename
