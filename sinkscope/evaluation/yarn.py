"""YaRN on a loaded model, in memory: a longer context by rescaled rotary frequencies (Peng et al., ICLR 2024).

Slow rotary frequencies are divided by the factor, fast ones are kept, and attention scores are scaled by
(0.1 ln(factor) + 1)^2. The computation is transformers' own; the configuration is set to what a checkpoint with YaRN
would say, and the module that holds the frequencies is built anew from it.
"""

from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from sinkscope.errors import RequestError


def extend_(model: PreTrainedModel, factor: float) -> PreTrainedModel:
    """Extends the context of a model by a factor, in place.

    Args:
        model: a causal LM with rotary position embeddings that nothing has rescaled yet.
        factor: how many times longer the context becomes; above 1.

    Returns:
        The same model.

    Raises:
        SinkscopeError: if the model has no rotary embeddings, or rescaled ones.
    """
    if not factor > 1:
        raise RequestError("`yarn` is a factor above 1")
    config: Any = model.config
    parameters = getattr(config, "rope_parameters", None)
    modules = _rotary_modules(model)
    if not parameters or not modules:
        raise RequestError(
            f"YaRN rescales rotary position embeddings, and a '{config.model_type}' has none: leave out `yarn`"
        )
    kind = parameters.get("rope_type")
    if kind is None:
        raise RequestError(
            f"the rotary embeddings of this '{config.model_type}' differ between layers, which `yarn` does not know"
        )
    if kind != "default":
        raise RequestError(f"this model's rotary embeddings are rescaled already ({kind}): leave out `yarn`")
    original = int(config.max_position_embeddings)
    config.rope_parameters = {
        **parameters,
        "rope_type": "yarn",
        "factor": float(factor),
        "original_max_position_embeddings": original,
    }
    config.max_position_embeddings = int(original * factor)
    for path, module in modules:
        parent, _, name = path.rpartition(".")
        device = cast("Any", module).inv_freq.device
        setattr(model.get_submodule(parent), name, type(cast("Any", module))(config).to(device))
    return model


def _rotary_modules(model: PreTrainedModel) -> list[tuple[str, nn.Module]]:
    """The modules that hold rotary frequencies, with their paths."""
    return [(path, module) for path, module in model.named_modules() if hasattr(module, "inv_freq")]
