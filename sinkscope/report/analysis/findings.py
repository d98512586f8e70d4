"""Three sentences on what a run shows: about attention, about activations, about gradients.

Each sentence is chosen by the numbers and quotes them. They say what occurs, and what occurs together; a measurement of
a finished model cannot say what caused what, so no sentence does.
"""

from typing import Any

from sinkscope.quantities.rows import large
from sinkscope.report.published import PUBLISHED_GRADIENT_SINKS
from sinkscope.report.text import counted, number, quoted
from sinkscope.tables.applicability import reason
from sinkscope.tables.run_folder import Run

FEW_HEADS = 0.1  # share of all heads below which a sink is called weak


def findings(run: Run) -> tuple[str, str, str]:
    """The three sentences: attention sinks, massive activations, gradient sinks."""
    head = run.info["headline"]
    return _attention(run, head), _activations(run, head), _gradients(run, head)


def _attention(run: Run, head: dict[str, Any]) -> str:
    epsilon = run.info["settings"]["sink_epsilon"]
    heads, layers = head["sink_heads"], counted(run.info["model"]["layers"], "layer")
    if not heads:
        largest = run["heads"].loc[run["heads"]["position"] == 0, "alpha"].max()
        return (
            f"No head gives token 0 more than {epsilon:g} of its attention on average "
            f"(largest: {number(float(largest))}); {_elsewhere(run)}."
        )
    share = heads / head["heads_total"]
    strength = "a weak attention sink" if share < FEW_HEADS else "an attention sink"
    give = "gives" if heads == 1 else "give"
    return (
        f"Token 0{_token_at_zero(run)} is {strength}: {number(heads)} of {counted(head['heads_total'], 'head')} "
        f"({100 * share:.0f} %), in {head['sink_layers']} of {layers}, {give} it more than {epsilon:g} of the "
        f"attention on average; {_elsewhere(run)}."
    )


def _token_at_zero(run: Run) -> str:
    for entry in run.info["sink_tokens"]:
        if entry["position"] == 0:
            always = "" if entry["share"] == 1 else f" in {100 * entry['share']:.0f} % of the sinks"
            return f" ({quoted(entry['token'], 16)}{always})"
    return ""


def _elsewhere(run: Run) -> str:
    """What there is at other positions, where single sequences may have a sink that no average shows."""
    sinks = run.info["sink_tokens"]
    others = [entry for entry in sinks if entry["position"]]
    if not others:
        return "no other position holds a sink in any sequence"
    main = max(others, key=lambda entry: (entry["sinks"], -entry["position"]))
    elsewhere = sum(entry["sinks"] for entry in others)
    total = sum(entry["sinks"] for entry in sinks)
    return (
        f"of {counted(total, 'sink')} counted sequence by sequence {100 * elsewhere / total:.2g} % stand at other "
        f"positions, most at position {main['position']} ({quoted(main['token'], 12)})"
    )


def _activations(run: Run, head: dict[str, Any]) -> str:
    size = (
        f"the largest entry of the residual stream is {number(head['abs_max'])}, {number(head['abs_max_over_median'])} "
        f"times its layer's median"
    )
    massive = run["massive"][run["massive"]["is_massive"]]
    residual = massive["site"] == "h_out"
    if head["massive_count"]:
        first = 100 * float((massive.loc[residual, "position"] == 0).mean())
        opening = _both(head, "Massive activations accompany it", "Massive activations occur without a sink at token 0")
        return (
            f"{opening}: {number(head['massive_count'])} entries over all sequences, the first in layer "
            f"{head['massive_first_layer']}, {first:.0f} % of them at token 0, whose residual norm is "
            f"{number(head['residual_t0_over_early'])} times that of early tokens; {size}."
        )
    elsewhere = f" ({number(len(massive))} stand inside the branches)" if len(massive) else ""
    if (head["abs_max_over_median"] or 0) >= large("abs_max_over_median"):
        return (
            f"The binary test finds no massive activation in the residual stream{elsewhere}, yet {size} and kurtosis "
            f"reaches {number(head['kurtosis_max'])}: judge this model by the continuous measures."
        )
    opening = _both(head, "The sink comes without massive activations", "Massive activations are absent too")
    return f"{opening} in the residual stream{elsewhere}: {size}."


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
