"""Which architectures can be measured, seen from a config.json before a weight is read."""

from typing import Any

from sinkscope.compat.auto_models import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES
from sinkscope.errors import RequestError
from sinkscope.models.families import FAMILIES, check_multimodal


def check_architecture(config: dict[str, Any], name: str) -> None:
    """Refuses what sinkscope cannot measure.

    Args:
        config: the parsed config.json.
        name: the model as the user named it.

    Raises:
        SinkscopeError: for an encoder, an encoder-decoder, a multimodal model without a row, an architecture that
            `models.families` does not list, or a configuration of one that is not supported.
    """
    model_type = config["model_type"]
    if model_type in FAMILIES:
        FAMILIES[model_type].check(config)
        return
    check_multimodal(config)
    known = ", ".join(sorted(FAMILIES))
    masked = model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder")
    if masked or config.get("is_encoder_decoder"):
        raise RequestError(f"{name} is a '{model_type}', not a causal language model; known architectures: {known}")
    kind = "" if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else ", nor a causal language model of transformers"
    raise RequestError(f"architecture '{model_type}' of {name} is not supported{kind}; known: {known}")
