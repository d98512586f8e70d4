"""What is said of massive activations: channels, tokens, layers and sequences, not how many entries they make."""

from typing import Any

from sinkscope.quantities.massive_facts import LISTED, MassiveFact, massive_facts
from sinkscope.report.text import counted, layer_words, listed, number, quoted
from sinkscope.tables.run_folder import Run

_CHANNELS = 6  # that are named one by one
FACTS = 3  # that a sentence names
BRANCHES = {"r_mlp": "MLP output", "r_attn": "attention output", "down_in": "input of the down projection"}


def facts(run: Run, site: str = "h_out") -> list[MassiveFact]:
    """The massive activations of a site."""
    return massive_facts(run["massive"], site)


def all_listed(run: Run, site: str) -> bool:
    """Whether the table `massive` has every massive entry of a site: very many are counted, but not listed."""
    massive = run["massive"][run["massive"]["is_massive"]]
    listed_there = massive[massive["site"] == site].groupby(["layer", "sequence"]).size()
    return bool((listed_there < LISTED).all())


def channels_left_out(run: Run, site: str) -> bool:
    """Whether a site has massive entries in channels of which none is listed for their sequence and layer."""
    if "massive_counts" not in run.tables:
        return False
    massive, keys = run["massive"][run["massive"]["is_massive"]], ["layer", "site", "sequence"]
    named = massive.groupby(keys)["channel"].nunique().rename("named").reset_index()
    counts = run["massive_counts"].merge(named, on=keys, how="left")
    return bool((counts.loc[counts["site"] == site, "channels"] > counts.loc[counts["site"] == site, "named"]).any())


def largest_entry(run: Run) -> dict[str, Any]:
    """The largest entry of the residual stream: a row of the table `massive`, with its size |x|."""
    entries = run["massive"][run["massive"]["site"] == "h_out"]
    entries = entries.assign(size=entries["value"].abs()).sort_values("size", kind="stable")
    return {str(name): value for name, value in entries.tail(1).to_dict("records")[0].items()}


def several(run: Run, site: str, count: int = FACTS) -> str:
    """The first facts of a site, joined; empty where there is none."""
    known = facts(run, site)
    if not known:
        return ""
    often = {fact.sequences for fact in known[:count]}
    named = [fact_words(run, fact, sequences=len(often) > 1) for fact in known[:count]]
    if len(often) == 1:
        named[-1] += f", {'each ' if len(named) > 1 else ''}{sequence_words(run, known[0])}"
    named_channels = {channel for fact in known[:count] for channel in fact.channels}
    rest = {channel for fact in known[count:] for channel in fact.channels} - named_channels
    if rest:
        named.append(f"and {counted(len(rest), 'further channel')}")
    if channels_left_out(run, site):
        named.append("and channels that are not listed")
    return "; ".join(named)


def fact_words(run: Run, fact: MassiveFact, *, sequences: bool = True) -> str:
    """A fact in words: "channels 507 and 247 at token 0 in layers 11 to 28, in 8 of 8 sequences"."""
    words = f"{channel_words(fact.channels)} {place_words(run, fact)} in {layer_words(fact.layers)}"
    return f"{words}, {sequence_words(run, fact)}" if sequences else words


def sequence_words(run: Run, fact: MassiveFact) -> str:
    """In how many of the run's sequences a fact is."""
    return f"in {number(fact.sequences)} of {counted(run.info['data']['sequences'], 'sequence')}"


def channel_words(channels: tuple[int, ...]) -> str:
    """Channels by number, many by their count."""
    if len(channels) > _CHANNELS:
        return f"{number(len(channels))} channels"
    return f"channel{'' if len(channels) == 1 else 's'} {listed([str(channel) for channel in channels])}"


def place_words(run: Run, fact: MassiveFact) -> str:
    """Where a fact is, with its token."""
    if fact.at_zero:
        return "at token 0"
    if fact.position is not None:
        return f"at position {number(fact.position)} ({quoted(fact.tokens[0], 12)})"
    count = f"{number(fact.places)}{'' if all_listed(run, fact.site) else ' or more'}"
    often = "" if len(fact.tokens) == 1 else "most often "
    return f"at {count} later tokens ({often}{quoted(fact.tokens[0], 12)})"
