"""What the findings mean for whoever wants to run the model in few bits: where to look, what is at risk, how to see it.

A static scale is fixed beforehand and spans the largest entry that the calibration saw. With 8 bits, symmetric and per
tensor, a step is that entry over 127, and every entry below half a step becomes 0. Where the median is below half a
step, so do more than half of the entries: that is arithmetic on the table `sites`, and no statement about the model's
losses, which only quantizing it tells.
"""

import shlex

import pandas as pd

from sinkscope.report.analysis.massive_words import channel_words, facts, largest_entry
from sinkscope.report.analysis.sink_words import groups, second, second_tokens
from sinkscope.report.text import counted, layer_words, listed, number, printable, quoted
from sinkscope.tables.run_folder import Run

METHODS = "w8a8-static,w8a8-dynamic,w8a8-static-down"
_STEPS = 127  # of a symmetric 8-bit scale on either side of 0
_INPUTS = {"hn": "q, k and v", "y": "the output projection", "hn2": "gate and up", "down_in": "the down projection"}


def consequences(run: Run) -> list[tuple[str, str]]:
    """Which tokens, which channels and layers, what static scales risk, and the command that measures it."""
    return [
        ("Tokens", _tokens(run)),
        ("Channels", _channels(run)),
        ("At risk", _risk(run)),
        ("Measure it", command(run)),
    ]


def command(run: Run) -> str:
    """What to type to quantize this model."""
    name = shlex.quote(printable(run.info["model"]["name"]))
    return f"sinkscope quantize {name} --methods {METHODS} --out quantized"


def crushed(run: Run) -> pd.DataFrame:
    """The inputs of linear layers where more than half of a typical sequence would be 0 under a static 8-bit scale."""
    sites = run["sites"][run["sites"]["site"].isin(_INPUTS)]
    return sites[sites["abs_median"] < sites["abs_max"] / _STEPS / 2]


def _tokens(run: Run) -> str:
    known = groups(run)
    parts = [
        f"token 0 in {layer_words(group.layers)} ({100 * group.share:.0f} % of the heads)"
        for group in known
        if group.at_zero
    ]
    rows = second(run)
    if len(rows):
        tokens = second_tokens(rows)
        noun = "sequence" if tokens.endswith(" in 1") else "sequences"
        parts.append(f"second sinks in {layer_words(rows['layer'].tolist())} ({tokens} {noun})")
    if parts:
        return f"{listed(parts)}."
    if known:
        return f"no token is a sink of many heads; single heads have sinks, most at {quoted(known[0].token, 12)}."
    return "none is a sink."


def _channels(run: Run) -> str:
    known = facts(run)
    if known:
        channels = tuple(sorted({channel for fact in known for channel in fact.channels}))
        layers = sorted({layer for fact in known for layer in fact.layers})
        return f"{channel_words(channels)} of the residual stream in {layer_words(layers)}: massive activations."
    head = run.info["headline"]
    return (
        f"no massive activation; the largest entry, {number(head['abs_max'])}, stands in channel "
        f"{largest_entry(run)['channel']} in layer {head['abs_max_layer']}."
    )


def _risk(run: Run) -> str:
    sites = run["sites"][run["sites"]["site"].isin(_INPUTS)]
    if sites.empty:
        return "not known: no input of a linear layer was measured."
    rows = crushed(run)
    coarse = sites.assign(gap=sites["abs_max"] / sites["abs_median"]).sort_values("gap", kind="stable")
    worst = coarse.dropna(subset=["gap"]).tail(1).to_dict("records")[0]
    place = f"the input of {_INPUTS[worst['site']]} ({worst['site']}) of layer {worst['layer']}"
    step = f"a step {number(worst['abs_max'] / _STEPS)} wide, set by {number(float(worst['abs_max']))}"
    median = number(float(worst["abs_median"]))
    if rows.empty:
        return (
            f"nowhere does a static 8-bit scale per tensor round half of the entries to 0; it is coarsest at {place}: "
            f"{step}, where the median |x| is {median}."
        )
    return (
        f"a static 8-bit scale per tensor rounds more than half of the entries to 0 at {number(len(rows))} of "
        f"{counted(len(sites), 'input')} of linear layers, most of all at {place}: {step}, where the median |x| is "
        f"{median}."
    )
