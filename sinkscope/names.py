"""Names that several rooms go by: of packaged models, dtypes, quantizations and drivers.

A name that a request takes, run.json records or a plan prints is spelled here and nowhere else. No torch is needed to
know a name.
"""

PACKAGED = ("demo", "demo-vscale")
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")

ADAPTERS = ("refuse", "ignore", "merge")
"""What may be done about a peft adapter that lies beside a model's weights."""

VSCALE_INFO = "vscale.json"
"""The file that makes a folder one with V-scale, or an adapter of V-scale alone."""

NONE = "none"
"""The model as it is loaded, among the names of quantization methods."""
METHODS = (
    f"{NONE}, w8a8-dynamic, w8a8-static, w8a8-static-down, w8, a8-dynamic, a8-static (8 may be 2 to 8), nf4, int8, "
    "torchao-int8, torchao-int8-weights, smoothquant, gptq, awq"
)
"""The quantization methods in words; `methods.choose` knows what they are."""
MITIGATIONS = f"{NONE}, smooth, smooth-search, rotate, prefix, clip, clip-99.9, keep, keep-8, or several as rotate+clip"
"""The mitigations in words; `mitigations.registry` knows what they are."""
QUANTIZATION_BITS = {"nf4": 4, "int8": 8}
"""What bitsandbytes makes of weights while they are loaded, and the bits of each."""
QUANTIZATIONS = tuple(QUANTIZATION_BITS)
QUANTIZATION_ALIASES = {f"{bits}bit": name for name, bits in QUANTIZATION_BITS.items()}
"""Other spellings of the quantizations, which some requests take too."""

RESIDENT, LAYER_BY_LAYER, STREAMED = "resident", "layer by layer", "streamed"
DRIVERS = (RESIDENT, LAYER_BY_LAYER, STREAMED)
"""How an analysis makes its passes: what of a model is in memory at a time (see `analysis.drivers`)."""


def looks_like_a_path(name: str) -> bool:
    """Whether `name` can only have been meant as a path: names on the Hub are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith("/")
