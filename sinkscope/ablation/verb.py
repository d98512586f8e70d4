"""`sinkscope.ablate`: the verb, and what it takes away as `with` blocks, under one name."""

import functools

from sinkscope.ablation import by_hand
from sinkscope.ablation.run import ablate as measure_ablations


class _Ablate:
    """Measures what a model loses with its outliers; its attributes take them away in a `with` block."""

    massive = staticmethod(by_hand.massive)
    channels = staticmethod(by_hand.channels)
    weights = staticmethod(by_hand.weights)
    sink_attention = staticmethod(by_hand.sink_attention)
    sink_value = staticmethod(by_hand.sink_value)
    sink_heads = staticmethod(by_hand.sink_heads)
    cache = staticmethod(by_hand.cache)

    __call__ = staticmethod(measure_ablations)


ablate = functools.update_wrapper(_Ablate(), measure_ablations)
