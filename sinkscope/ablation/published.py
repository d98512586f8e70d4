"""Super weights that are published, to be listed beside those that are found.

From Table 2 of arXiv:2411.07191, and for Llama 3 8B from the code beside it: layer, row (output channel) and column
(input channel) of the down projection.
"""

from sinkscope.interventions.weights import WeightAt
from sinkscope.report.published import begins_with

_PUBLISHED: dict[str, tuple[tuple[int, int, int], ...]] = {
    "Llama-7B": ((2, 3968, 7003),),
    "Llama-13B": ((2, 2231, 2278), (2, 2231, 6939)),
    "Llama-30B": ((3, 5633, 12817), (3, 5633, 17439), (10, 5633, 14386)),
    "Llama-2-7B": ((1, 2533, 7890),),
    "Llama-2-13B": ((3, 4743, 7678),),
    "Llama-3-8B": ((1, 788, 2427), (1, 1384, 2427), (1, 4062, 2427)),
    "Mistral-7B-v0.1": ((1, 2070, 7310),),
    "OLMo-1B-0724": ((1, 1764, 1710), (1, 1764, 8041)),
    "OLMo-7B-0724": ((1, 269, 7467), (2, 269, 8275), (7, 269, 453), (24, 269, 2300)),
    "Phi-3-mini-4k-instruct": (
        (2, 525, 808), (2, 1693, 808), (2, 1113, 808), (4, 525, 2723), (4, 1113, 2723), (4, 1693, 2723),
    ),
}  # fmt: skip


def published_super_weights(name: str) -> tuple[WeightAt, ...]:
    """Published super weights of a model, by its Hub id or folder; empty where there are none."""
    found = [places for model, places in _PUBLISHED.items() if begins_with(name, model)]
    return tuple(WeightAt(*place) for place in found[0]) if found else ()
