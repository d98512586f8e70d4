"""Numbers from the literature to hold a run against, as data.

They come from other text, other code and sometimes other conventions, so they are shown beside a run and never enter a
verdict. Keys are headline names of `run.json`.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

PAPER = "arXiv:2603.17771"

TRAINED: dict[str, dict[str, float]] = {
    "0.3B baseline": {
        "loss": 2.9168,
        "sink_rate_mean": 0.617,
        "sink_rate_max": 0.984,
        "residual_t0_mean": 1916,
        "residual_t0_max": 2852,
        "residual_t0_over_early": 11.1,
        "mlp_t0_mean": 346,
        "mlp_t0_max": 2333,
        "gradient_sink_median": 40.3,
    },
    "0.3B V-scale": {
        "loss": 2.9068,
        "sink_rate_mean": 0.502,
        "sink_rate_max": 0.998,
        "residual_t0_mean": 346,
        "residual_t0_max": 617,
        "residual_t0_over_early": 3.0,
        "mlp_t0_mean": 75,
        "mlp_t0_max": 452,
        "gradient_sink_median": 5.6,
    },
    "0.3B backward-only": {
        "loss": 2.9307,
        "sink_rate_mean": 0.458,
        "sink_rate_max": 0.825,
        "residual_t0_mean": 607,
        "residual_t0_max": 952,
        "residual_t0_over_early": 3.6,
        "mlp_t0_mean": 113,
        "mlp_t0_max": 433,
    },
    "0.1B baseline": {"gradient_sink_median": 15.5, "gradient_sink_q25": 5.2, "gradient_sink_q75": 21.9},
    "1B baseline": {"gradient_sink_median": 9.4},
}
"""Models that the paper trained from scratch on C4; the 0.3B ones at step 20000."""


INT8: dict[str, dict[str, tuple[float, float]]] = {
    "none": {"perplexity": (22.84, 22.83), "single_2": (98.0, 97.8), "single_3": (85.5, 95.6),
             "multikey_1": (65.0, 71.6)},
    "w8a8-dynamic": {"perplexity": (23.16, 23.04), "single_2": (96.0, 96.3), "single_3": (77.0, 91.4),
                     "multikey_1": (63.4, 66.9)},
    "w8a8-static": {"perplexity": (33.55, 25.46), "single_2": (1.5, 79.4), "single_3": (0.0, 75.3),
                    "multikey_1": (2.8, 56.0)},
    "w8a8-static-down": {"perplexity": (32.94, 25.21), "single_2": (2.2, 79.3), "single_3": (0.0, 79.1),
                         "multikey_1": (3.4, 56.8)},
}  # fmt: skip
"""The paper's 1B models under symmetric INT8, baseline and V-scale: WikiText perplexity, needles found in percent."""


@dataclass(frozen=True)
class Published:
    """A published value of a public model.

    Attributes:
        model: the model as the source names it.
        metric: the headline name of what was measured.
        value: the value; several where the metric lists channels.
        source: where it was published.
    """

    model: str
    metric: str
    value: float | tuple[int, ...]
    source: str


_SUN = "Sun et al., COLM 2024"
_LAYERS = "arXiv:2605.08504"
_PEAKS = "arXiv:2605.15572"
_BARBERO = "Barbero et al., COLM 2025"

PUBLIC = (
    Published("Llama-2-7B", "massive_channels", (1415, 2533), _SUN),
    Published("Phi-3-mini", "massive_first_layer", 2, _LAYERS),
    Published("Mistral-7B", "massive_first_layer", 2, _LAYERS),
    Published("Qwen2.5-7B", "massive_first_layer", 4, _LAYERS),
    Published("Llama-3.1-8B", "massive_first_layer", 6, _LAYERS),
    Published("Qwen3-8B", "massive_first_layer", 7, _LAYERS),
    Published("Gemma-3-27B-it", "abs_max", 7e5, _PEAKS),
    Published("Qwen2.5-1.5B", "abs_max", 7968.0, _PEAKS),
    Published("Qwen3.5-9B", "abs_max", 956.0, _PEAKS),
    Published("Qwen3.5-0.8B", "abs_max", 122.0, _PEAKS),
    Published("Qwen3.5-35B-A3B", "abs_max", 132.0, _PEAKS),
    Published("Llama-3.1-8B", "sink_rate_mean", 0.460, _BARBERO),
    Published("Llama-3.1-70B", "sink_rate_mean", 0.735, _BARBERO),
    Published("Llama-3.1-405B", "sink_rate_mean", 0.783, _BARBERO),
    Published("Qwen3-8B", "gradient_sink_median", 106.7, PAPER),
)

_GRADIENT_SINKS = [
    *(TRAINED[model]["gradient_sink_median"] for model in ("0.1B baseline", "0.3B baseline", "1B baseline")),
    *(value.value for value in PUBLIC if value.metric == "gradient_sink_median" and isinstance(value.value, float)),
]
PUBLISHED_GRADIENT_SINKS = (min(_GRADIENT_SINKS), max(_GRADIENT_SINKS))
"""Smallest and largest median of R_GS(0) that the paper prints of a model without V-scale."""


def published_for(name: str) -> tuple[Published, ...]:
    """What is published of a model.

    A name matches if its last part begins with the published name, word by word: `meta-llama/Llama-2-7b-hf` is
    Llama-2-7B, while Qwen2.5-72B is not Qwen2.5-7B and a distilled model that ends in a known name is not that model.

    Args:
        name: hub id or folder of the model.
    """
    return tuple(value for value in PUBLIC if begins_with(name, value.model))


def begins_with(name: str, model: str) -> bool:
    """Whether the last part of a hub id or path begins with a published name, word by word."""
    words = _words(PurePosixPath(name).name)
    return words[: len(_words(model))] == _words(model)


def _words(name: str) -> list[str]:
    words = re.split(r"[-_ ]+", name.lower())
    return words[1:] if words[0] == "meta" else words
