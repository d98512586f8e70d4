"""Low-rank adaptation through peft, with V-scale behind it.

The order matters: V-scale is attached after the low-rank layers, since peft freezes whatever it finds.
"""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sinkscope.errors import RequestError
from sinkscope.finetuning.settings import LoraSettings


def with_lora(model: PreTrainedModel, settings: LoraSettings) -> Any:
    """The model with low-rank layers beside every linear layer but the output head; everything else is frozen.

    Args:
        model: the base; it is changed in place.
        settings: their shape.

    Returns:
        peft's model; `get_base_model()` is `model`.

    Raises:
        SinkscopeError: if peft is not installed.
    """
    peft = _peft()
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def merged(base: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """A base model with the low-rank layers of a folder added to its weights.

    Args:
        base: not quantized; it is changed in place.
        adapter: a folder that peft saved.
    """
    model: PreTrainedModel = _peft().PeftModel.from_pretrained(base, adapter).merge_and_unload()
    return model


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise RequestError("`lora` needs the package peft: pip install 'sinkscope[lora]'") from error
    return peft
