"""Quantized weights: what a checkpoint says of those that it stores, and how weights are quantized while loading."""

from typing import Any

from transformers import BitsAndBytesConfig


def stored_quantization(config: dict[str, Any]) -> tuple[str | None, int | None]:
    """How a checkpoint's weights are stored.

    Args:
        config: the parsed config.json.

    Returns:
        The quantization method, None where the weights are in full precision, and the bits per weight of the linear
        modules, None where the configuration does not tell.
    """
    described = config.get("quantization_config")
    if not isinstance(described, dict):
        return None, None
    method = str(described.get("quant_method", "unknown"))
    if described.get("load_in_4bit"):
        return method, 4
    if described.get("load_in_8bit") or method in ("fp8", "fbgemm_fp8"):
        return method, 8
    bits = described.get("bits")
    return method, bits if isinstance(bits, int) else 4 if method == "mxfp4" else None


def stored_dtype(config: dict[str, Any]) -> str:
    """The dtype of a checkpoint's weights, by the name of torch.

    Args:
        config: the parsed config.json.
    """
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def quantizer(quantize: str, compute_dtype: str) -> BitsAndBytesConfig:
    """How bitsandbytes is asked to quantize weights while they are loaded.

    Args:
        quantize: one of `names.QUANTIZATIONS`.
        compute_dtype: what 4-bit weights are expanded to: the model's own, so that quantization changes weights alone.
    """
    if quantize == "nf4":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute_dtype)
    return BitsAndBytesConfig(load_in_8bit=True)
