"""The paper's claims, each with the tests that were fixed before any run: number, bound, direction, refutation.

A claim is a sentence of arXiv:2603.17771 as docs/definitions.md restates it; a test is one number of it with a bound.
The bounds are round numbers that the paper's own values clear, chosen once: a thing is "large" from 2 on, the mark that
a track uses too; "the same" is within 1/1.25 to 1.25, a comparison's margin; a perplexity is unharmed within 1.05, its
margin there; and one half decides both what V-scale keeps and what it cuts, so that the two sides of the dissociation
are judged by one mark.
"""

import math

from sinkscope.intervals.verdicts import MARGIN
from sinkscope.quantities.rows import large, quantity
from sinkscope.reproduction.claim import BACKWARD_ONLY, BASELINE, QUANTIZATION, VSCALE, Claim, Test
from sinkscope.reproduction.rule import Direction

_HALF = 0.5
_UNHARMED = math.log(quantity("perplexity").margin or 1.05)


def _above(bound: float) -> tuple[Direction, tuple[float, float]]:
    return "above", (bound, math.inf)


def _below(bound: float) -> tuple[Direction, tuple[float, float]]:
    return "below", (-math.inf, bound)


def _within(low: float, high: float) -> tuple[Direction, tuple[float, float]]:
    return "within", (low, high)


def _trained_against_baseline(model: str, paper: dict[str, str]) -> tuple[Test, ...]:
    """What a model with the valve keeps, and what it loses, against the baseline of the same seed."""
    short = model.lower()
    pair = (model, BASELINE)
    return (
        Test(
            f"{short}-keeps-sinks",
            f"{model} keeps more than half of the sink rate",
            "sink_rate_mean / baseline",
            "mean sink rate over that of the baseline",
            pair,
            *_above(_HALF),
            "linear",
            paper["sink_rate_mean"],
            given="sinks",
            span=(0.0, math.inf),
        ),
        Test(
            f"{short}-cuts-residual",
            f"{model} leaves less than half of token 0's residual norm",
            "residual_t0_mean / baseline",
            "residual norm of token 0, mean over layers, over that of the baseline",
            pair,
            *_below(_HALF),
            "log",
            paper["residual_t0_mean"],
            given="massive",
        ),
        Test(
            f"{short}-cuts-mlp",
            f"{model} leaves less than half of token 0's MLP output norm",
            "mlp_t0_mean / baseline",
            "MLP output norm of token 0, mean over layers, over that of the baseline",
            pair,
            *_below(_HALF),
            "log",
            paper["mlp_t0_mean"],
            given="massive",
        ),
        Test(
            f"{short}-cuts-gradient-sink",
            f"{model} leaves less than half of the gradient-sink ratio",
            "gradient_sink_median / baseline",
            "median over layers of R_GS(0), over that of the baseline",
            pair,
            *_below(_HALF),
            "log",
            paper["gradient_sink_median"],
            given="gradient-sink",
        ),
    )


CLAIMS = (
    Claim(
        1,
        "Attention sinks and massive activations occur together, at the first token",
        (
            Test(
                "sinks",
                "in some layer more than half of the heads are sinks at token 0",
                "sink_rate_max",
                "sink rate of the layer with the largest",
                (BASELINE,),
                *_above(_HALF),
                "linear",
                "0.984 (0.3B)",
                span=(0.0, 1.0),
            ),
            Test(
                "massive",
                "token 0's residual norm is more than twice that of positions 1 to 15",
                "residual_t0_over_early",
                "residual norm of token 0 over that of positions 1 to 15, means over layers",
                (BASELINE,),
                *_above(large("residual_t0_over_early")),
                "log",
                "11.1 (0.3B)",
            ),
        ),
    ),
    Claim(
        2,
        "The gradient has a sink at the same token: on the value path first, the key path second",
        (
            Test(
                "gradient-sink",
                "the gradient at token 0 is more than twice that of positions 1 to 31",
                "gradient_sink_median",
                "median over layers of R_GS(0)",
                (BASELINE,),
                *_above(large("gradient_sink_median")),
                "log",
                "15.5 (0.1B), 40.3 (0.3B), 9.4 (1B), 106.7 (Qwen3-8B)",
            ),
            Test(
                "value-over-key",
                "at token 0 the value path's gradient is more than 1.25 times the key path's",
                "value gradient / key gradient",
                "|dL/dv_0| / |dL/dk_0|, geometric mean over layers",
                (BASELINE,),
                *_above(MARGIN),
                "log",
                single="layers",
            ),
            Test(
                "key-over-query",
                "at token 0 the key path has a larger share of the gradient than the query path, by 0.05",
                "key share - query share",
                "share of |dL/dk_0| in the sum of the three paths, less that of |dL/dq_0|, mean over layers",
                (BASELINE,),
                *_above(0.05),
                "linear",
                single="layers",
            ),
        ),
    ),
    Claim(
        3,
        "The first query gets no gradient: dL/dq_0 = 0",
        (
            Test(
                "first-query",
                "dL/dq_0 is 0 up to rounding: at most what rounding can leave of it",
                "query gradient at 0",
                "largest over layers of |dL/dq_0| / (2 (d + 2) u |dL/dy_0| |v_0| |k_0|)",
                (BASELINE,),
                "at most",
                (-math.inf, 1.0),
                "linear",
                "0, exactly",
                single="exact",
            ),
        ),
    ),
    Claim(
        4,
        "At token 0 the attention branch swells the gradient (Bloat), and the stream hardly changes (Change near 1)",
        (
            Test(
                "change",
                "Change at token 0 is within 1/1.25 to 1.25",
                "change at 0",
                "Change of the attention branch at token 0, geometric mean over layers",
                (BASELINE,),
                *_within(1 / MARGIN, MARGIN),
                "log",
                single="layers",
            ),
            Test(
                "bloat",
                "Bloat at token 0 is above 2",
                "bloat at 0",
                "Bloat of the attention branch at token 0, geometric mean over layers",
                (BASELINE,),
                *_above(2.0),
                "log",
                single="layers",
            ),
            Test(
                "bloat-over-early",
                "Bloat at token 0 is more than 1.25 times that at positions 1 to 15",
                "bloat at 0 / early",
                "the same over that of positions 1 to 15, geometric means over layers and positions",
                (BASELINE,),
                *_above(MARGIN),
                "log",
                single="layers",
            ),
        ),
    ),
    Claim(
        5,
        "RMSNorm throttles the gradient by the size of its input: log Compress falls with log |h| at slope -1",
        (
            Test(
                "compress-slope",
                "the slope of log Compress on log |h_in| is within -1.25 to -0.75",
                "compress slope",
                "least-squares slope over layers and positions 0 to 15 of the attention branch",
                (BASELINE,),
                *_within(-1.25, -0.75),
                "linear",
                "-1, by eye",
                single="layers",
            ),
        ),
    ),
    Claim(
        6,
        "V-scale keeps the attention sinks and cuts massive activations and the gradient sink",
        _trained_against_baseline(
            VSCALE,
            {
                "sink_rate_mean": "0.502 / 0.617 = 0.81 (0.3B)",
                "residual_t0_mean": "346 / 1916 = 0.18 (0.3B)",
                "mlp_t0_mean": "75 / 346 = 0.22 (0.3B)",
                "gradient_sink_median": "5.6 / 40.3 = 0.14 (0.3B)",
            },
        ),
    ),
    Claim(
        7,
        "V-scale's backward pass alone does too",
        _trained_against_baseline(
            BACKWARD_ONLY,
            {
                "sink_rate_mean": "0.458 / 0.617 = 0.74 (0.3B)",
                "residual_t0_mean": "607 / 1916 = 0.32 (0.3B)",
                "mlp_t0_mean": "113 / 346 = 0.33 (0.3B)",
                "gradient_sink_median": "",
            },
        ),
    ),
    Claim(
        8,
        "The learned valve is stronger in early layers, and weaker in late ones",
        (
            Test(
                "theta-early",
                "theta is above 0.05 in the first half of the layers",
                "theta, first half",
                "mean theta over the first half of the layers",
                (VSCALE,),
                *_above(0.05),
                "linear",
                "positive",
                single="layers",
            ),
            Test(
                "theta-late",
                "theta is below -0.05 in the second half of the layers",
                "theta, second half",
                "mean theta over the second half of the layers",
                (VSCALE,),
                *_below(-0.05),
                "linear",
                "mostly negative",
                single="layers",
            ),
        ),
    ),
    Claim(
        9,
        "Static per-tensor INT8 hurts the baseline, and V-scale less; dynamic per token hurts neither",
        (
            Test(
                "static-hurts",
                "W8A8 static per tensor raises the baseline's perplexity by more than 5 %",
                "static damage",
                "loss under W8A8 static minus unquantized loss, nats per token",
                (BASELINE,),
                *_above(_UNHARMED),
                "linear",
                "ln(33.55 / 22.84) = 0.384 (1B)",
                QUANTIZATION,
            ),
            Test(
                "static-hurts-vscale-less",
                "and by more than 0.01 nats per token more than V-scale's",
                "static damage, difference",
                "that of the baseline minus that of V-scale",
                (BASELINE, VSCALE),
                *_above(0.01),
                "linear",
                "0.384 less 0.109 = 0.275 (1B)",
                QUANTIZATION,
                given="static-hurts",
            ),
            Test(
                "dynamic-spares",
                "W8A8 dynamic per token raises the baseline's perplexity by less than 5 %",
                "dynamic damage",
                "loss under W8A8 dynamic minus unquantized loss, nats per token",
                (BASELINE,),
                *_below(_UNHARMED),
                "linear",
                "ln(23.16 / 22.84) = 0.014 (1B)",
                QUANTIZATION,
            ),
            Test(
                "dynamic-spares-vscale",
                "and V-scale's by less than 5 %",
                "dynamic damage",
                "the same of V-scale",
                (VSCALE,),
                *_below(_UNHARMED),
                "linear",
                "ln(23.04 / 22.83) = 0.009 (1B)",
                QUANTIZATION,
            ),
        ),
    ),
    Claim(
        10,
        "The inputs of down_proj alone explain the damage",
        (
            Test(
                "down-explains",
                "with mlp.down_proj alone quantized more than half of the damage is there",
                "down_proj's damage - half of all",
                "damage with down_proj alone minus half of the damage with all modules, nats per token",
                (BASELINE,),
                *_above(0.0),
                "linear",
                "0.366 less 0.192 = 0.174 (1B)",
                QUANTIZATION,
                given="static-hurts",
            ),
        ),
    ),
)

TESTS: dict[str, Test] = {test.name: test for claim in CLAIMS for test in claim.tests}
