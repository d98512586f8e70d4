"""Quantized weights: what a checkpoint says of those that it stores, and how weights are quantized while loading."""

from typing import Any

from transformers import BitsAndBytesConfig

from sinkscope.compat.stored_quantization import known_methods
from sinkscope.errors import RequestError

EXPANDED = ("fp8", "mxfp8")
"""Methods whose weights are expanded while they are read where there is no GPU to multiply them as they are."""


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


def check_quantization(config: dict[str, Any], name: str) -> None:
    """Refuses weights that are stored by a method that nobody here can read.

    Args:
        config: the parsed config.json.
        name: the model as the user named it.

    Raises:
        RequestError: naming the method, and those that are known.
    """
    method, _ = stored_quantization(config)
    described = config.get("quantization_config")
    packed = isinstance(described, dict) and (described.get("load_in_4bit") or described.get("load_in_8bit"))
    if method is not None and not packed and method not in known_methods():
        raise RequestError(
            f"{name} is stored quantized by '{method}', which transformers cannot read; take its full-precision "
            f"weights; known: {', '.join(known_methods())}"
        )


def block_of(config: dict[str, Any]) -> tuple[int, int] | None:
    """Rows and columns of a stored fp8 weight that share a scale; None where a whole tensor does."""
    block = config["quantization_config"].get("weight_block_size")
    if isinstance(block, list) and len(block) == 2 and all(isinstance(size, int) and size > 0 for size in block):
        return block[0], block[1]
    return None


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
