"""Sentences on what a run shows: about attention, activations, gradients, and token 0 over the depth.

Each sentence is chosen by the numbers and quotes them. They say what occurs, and what occurs together; a measurement of
a finished model cannot say what caused what, so no sentence does.
"""

from typing import Any

from sinkscope.quantities.rows import large, quantity
from sinkscope.report.analysis.depth_words import depth
from sinkscope.report.analysis.massive_words import BRANCHES, facts, several
from sinkscope.report.analysis.sink_words import elsewhere, token_zero
from sinkscope.report.published import PUBLISHED_GRADIENT_SINKS
from sinkscope.report.text import counted, number
from sinkscope.tables.applicability import reason
from sinkscope.tables.headline import measured
from sinkscope.tables.run_folder import Run

FEW_HEADS = 0.1  # share of all heads below which a sink is called weak
RELATIVE = 1000  # times the median: the second part of the test of equation (5)


def findings(run: Run) -> tuple[str, ...]:
    """The sentences: attention sinks, massive activations, gradient sinks, and token 0 over the depth."""
    head = run.info["headline"]
    return _attention(run, head), _activations(run, head), _gradients(run, head), depth(run)


def _attention(run: Run, head: dict[str, Any]) -> str:
    epsilon = run.info["settings"]["sink_epsilon"]
    heads, layers = head["sink_heads"], counted(run.info["model"]["layers"], "layer")
    if not heads:
        largest = run["heads"].loc[run["heads"]["position"] == 0, "alpha"].max()
        return (
            f"No head gives token 0 more than {epsilon:g} of its attention on average "
            f"(largest: {number(float(largest))}); {elsewhere(run)}."
        )
    share = heads / head["heads_total"]
    strength = "a weak attention sink" if share < FEW_HEADS else "an attention sink"
    give = "gives" if heads == 1 else "give"
    return (
        f"Token 0{token_zero(run)} is {strength}: {number(heads)} of {counted(head['heads_total'], 'head')} "
        f"({100 * share:.0f} %), in {head['sink_layers']} of {layers}, {give} it more than {epsilon:g} of the "
        f"attention on average; {elsewhere(run)}."
    )


def _activations(run: Run, head: dict[str, Any]) -> str:
    size = f"the largest entry of the residual stream is {number(head['abs_max'])} in layer {head['abs_max_layer']}"
    over = head["abs_max_over_median"]
    ratio = f"{number(over)} times the median of its sequence and layer"
    if head["massive_count"] and over is not None and over < RELATIVE:
        ratio += f", below the {RELATIVE:,} of the test"
    if head["massive_count"]:
        opening = _both(head, "Massive activations accompany it", "Massive activations occur without a sink at token 0")
        return f"{opening}: {several(run, 'h_out')}; {size}, {ratio}{_in_branches(run, '; the {} has some, ')}."
    beside = _in_branches(run, " (the {} has some, ", ")")
    highest = largest_ratio(run)
    if (highest or 0) >= large("abs_over_median_max"):
        return (
            f"The binary test finds no massive activation in the residual stream{beside}, yet {size}, {ratio}, "
            f"entries reach {number(highest)} times the median and kurtosis {number(head['kurtosis_max'])}: judge this "
            "model by the continuous measures."
        )
    opening = _both(head, "The sink comes without massive activations", "Massive activations are absent too")
    return f"{opening} in the residual stream{beside}: {size}, {ratio}."


def largest_ratio(run: Run) -> Any:
    """The largest ratio of an entry to its median; from the tables where run.json is older than the quantity."""
    name = "abs_over_median_max"
    return run.info["headline"].get(name) if name in run.info["headline"] else quantity(name).measured(measured(run))


def _in_branches(run: Run, opening: str, closing: str = "") -> str:
    """The massive activations inside the branches, of the MLP's output where it has some."""
    for site, name in BRANCHES.items():
        if known := facts(run, site):
            first = min(layer for fact in known for layer in fact.layers)
            return f"{opening.format(name)}from layer {first} on: {several(run, site, 2)}{closing}"
    return ""


def _both(head: dict[str, Any], with_sink: str, without: str) -> str:
    return with_sink if head["sink_heads"] else without


def _gradients(run: Run, head: dict[str, Any]) -> str:
    if not run.backward:
        return "Gradients were not measured, so nothing is said about gradient sinks, and no bound was checked."
    if head["bound_violations"]:
        return (
            f"{number(head['bound_violations'])} of {number(head['bounds_checked'])} inequalities that hold for every "
            "model fail here: the gradients of this run are measured wrongly and should not be used."
        )
    checked = f"all {number(head['bounds_checked'])} checked bounds hold"
    ratio = head["gradient_sink_median"]
    why = reason(run, "gradient_sink_ratio")
    if why is not None:
        return f"The gradient-sink ratio does not apply, as {why}; {checked}."
    if ratio is None:
        return f"The gradient-sink ratio is undefined here, as early gradients are zero or missing; {checked}."
    quartiles = f"quartiles {number(head['gradient_sink_q25'])} to {number(head['gradient_sink_q75'])}"
    size = f"{number(ratio)} times the mean of the early tokens, median over layers ({quartiles})"
    if ratio < large("gradient_sink_median"):
        return f"Gradients do not gather at token 0: their norm there is {size}; {checked}."
    return f"Gradients gather at token 0: their norm there is {size}, {_against_paper(ratio)}; {checked}."


def _against_paper(ratio: float) -> str:
    low, high = PUBLISHED_GRADIENT_SINKS
    side = "below" if ratio < low else "above" if ratio > high else "within"
    return f"{side} the {number(low, 2)} to {number(high, 4)} that the paper prints of models without V-scale"
