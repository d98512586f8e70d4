"""What is said of the sinks: at which tokens they stand, in how many sequences, in which layers."""

import pandas as pd

from sinkscope.quantities.sink_groups import SECOND, SinkGroup, second_sinks, sink_groups
from sinkscope.report.text import counted, layer_words, listed, number, quoted
from sinkscope.tables.run_folder import Run

_NAMED = 3  # tokens that are named one by one


def groups(run: Run) -> list[SinkGroup]:
    """The sinks of a run by token."""
    return sink_groups(run["sinks"], run.info["headline"]["heads_total"])


def second(run: Run) -> pd.DataFrame:
    """The rows of `sinks` that stand at a second sink."""
    return second_sinks(run["sinks"], run.info["headline"]["heads_total"])


def token_zero(run: Run) -> str:
    """Which token stands at position 0 where it is a sink, in brackets; empty where it is one nowhere."""
    found = [group for group in groups(run) if group.at_zero]
    if not found:
        return ""
    if found[0].tokens == 1:
        return f" ({quoted(found[0].token, 16)})"
    return f" (whichever of {number(found[0].tokens)} tokens it is)"


def zero(group: SinkGroup) -> str:
    """The token of the sinks at position 0, or how many different ones there are."""
    return quoted(group.token, 12) if group.tokens == 1 else f"{number(group.tokens)} tokens"


def elsewhere(run: Run) -> str:
    """What there is at later positions, as the end of a sentence."""
    later = [group for group in groups(run) if not group.at_zero]
    if not later:
        return "no other position holds a sink in any sequence"
    rows = second(run)
    if rows.empty:
        count = sum(group.sinks for group in later)
        return (
            f"of {counted(len(run['sinks']), 'sink')} counted sequence by sequence "
            f"{100 * count / len(run['sinks']):.2g} % stand at later tokens, most at {quoted(later[0].token, 12)}, but "
            f"in no sequence has one of these tokens sinks in {100 * SECOND:g} % of the heads"
        )
    return (
        f"in {number(int(rows['sequence'].nunique()))} of {counted(run.info['data']['sequences'], 'sequence')} a later "
        f"token is a second sink, in {layer_words(rows['layer'].tolist())}: {second_tokens(rows)}"
    )


def second_tokens(rows: pd.DataFrame) -> str:
    """The tokens of second sinks and in how many sequences each is one, the most frequent first."""
    counts = rows.drop_duplicates("sequence")["token"].value_counts()
    named = [f"{quoted(token, 12)} in {number(int(count))}" for token, count in counts.iloc[:_NAMED].items()]
    rest = int(counts.iloc[_NAMED:].sum())
    return listed([*named, f"others in {number(rest)}"] if rest else named)
