"""bitsandbytes: NF4 and LLM.int8, quantized while loading.

On a CPU LLM.int8 casts its inputs to float16, where values beyond 65504 become infinite: a model with larger
activations has no finite loss there, and its row says so by a null.
"""

from functools import partial

from sinkscope.loading.load import Loaded, load_model
from sinkscope.methods.library.method import LoadRequest, Method


def _loaded(request: LoadRequest, name: str) -> Loaded:
    return load_model(request.model, quantize=name, **request.loading)


def _method(name: str, bits: tuple[int, int | None], granularity: str) -> Method:
    return Method(name, *bits, granularity, partial(_loaded, name=name), "bitsandbytes", streams=True, held_as=name)


# nf4 expands its weights to the model's own dtype in every product; int8 leaves input columns with an entry over 6 in
# float16.
METHODS = (
    _method("nf4", (4, None), "W in blocks of 64"),
    _method("int8", (8, 8), "W per channel, A per token, columns over 6 in float16"),
)
