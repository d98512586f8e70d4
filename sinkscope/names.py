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
FORMATS = ("fp8", "fp8e5m2", "mxfp8", "mxfp8e5m2", "mxfp6", "mxfp6e3m2", "mxfp4", "nvfp4")
"""Number formats; `methods.formats.table` has what they are."""
LIBRARY_METHODS = ("nf4", "int8", "torchao-int8", "torchao-int8-weights", "smoothquant", "gptq", "awq")
"""Methods of libraries; `methods.choose` has what they are."""
CACHE_METHODS = (
    "cache-k4v4 (keys and values in 8 4 or 2 bits), cache-k2v2-g32-sinks4-window128, w8a8-static+cache-k4v4 (both)"
)
"""Methods that round the cache, in words: `quantize` and `evaluate` measure them."""
GENERATING_METHODS = "quanto-cache-4bit (transformers' own cache; 4 or 2 bits), fp8-cache, w8a8-static+fp8-cache (both)"
"""Methods that round the cache of generation alone, in words: `evaluate` generates through them."""
MODEL_METHODS = (
    f"{NONE}, w8a8-dynamic, w8a8-static, w8 (weights alone), a8-dynamic, a8-static (inputs alone; 2 to 8 bits), w4g128 "
    "(groups of 128), w4g128-asym, w4g64-a8-dynamic, mxfp4 (a format of weights and inputs: "
    f"{' '.join(FORMATS)}), w-mxfp4, w-nvfp4-a-fp8, fp8-static, w8a8-static-down (any with -down: down projections "
    f"alone), w8a8-static-dynamic-down (static but in down projections), {', '.join(LIBRARY_METHODS)}"
)
"""The quantization methods that a model can be measured under, in words."""
METHODS = f"{MODEL_METHODS}, {CACHE_METHODS}"
"""All of them; `methods.grammar` understands the names, `methods.choose` knows what they are."""
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
