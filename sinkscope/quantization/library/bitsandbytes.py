"""bitsandbytes: NF4 and LLM.int8, quantized while loading.

On a CPU LLM.int8 casts its inputs to float16, where values beyond 65504 become infinite: a model with larger
activations has no finite loss there, and its row says so by a null.
"""

from transformers import PreTrainedModel

from sinkscope.loading.load import load_model
from sinkscope.quantization.library.method import LoadRequest, Method


def nf4(request: LoadRequest) -> PreTrainedModel:
    """Weights in 4-bit NormalFloat, expanded to the model's own dtype in every product."""
    return load_model(request.model, quantize="nf4", **request.loading).model


def int8(request: LoadRequest) -> PreTrainedModel:
    """Weights and activations in 8 bits, except input columns with an entry over 6, which stay in float16."""
    return load_model(request.model, quantize="int8", **request.loading).model


METHODS = (
    Method("nf4", 4, None, "W in blocks of 64", nf4, "bitsandbytes"),
    Method("int8", 8, 8, "W per channel, A per token, columns over 6 in float16", int8, "bitsandbytes"),
)
