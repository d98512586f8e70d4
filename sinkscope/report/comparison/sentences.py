"""What page 1 and the terminal say in words: how the runs were compared, and what came out for each."""

from sinkscope.intervals.limits import FEWEST
from sinkscope.intervals.verdicts import JUDGED, NO_INTERVAL, UNCLEAR
from sinkscope.quantities.rows import compared
from sinkscope.report.comparison.runs import mismatch, rows_of
from sinkscope.report.text import counted, printable
from sinkscope.tables.run_folder import Run


def warning(run: Run) -> str:
    """The sentence for runs that were not measured alike; empty otherwise."""
    if not run.info["mismatches"]:
        return ""
    return f"These runs were not measured alike, so they may differ for that alone: {mismatch(run)}."


def manner(run: Run) -> str:
    """How intervals were made, and against what depth curves stand."""
    entries, settings = run.info["runs"], run.info["settings"]
    data = entries[0]["measured"][0]["data"]
    pairing = "paired, as all read the same" if run.info["paired"] else "unpaired, as they did not read the same"
    if any(entry["seeds"] > 1 for entry in entries):
        how = "Runs of one name are seeds: their mean is shown, and 95 % intervals are Student's t over seeds"
        how += ", whose n-th are pairs" if settings.get("paired_seeds") else ""
        if any(entry["seeds"] == 1 for entry in entries):
            how += "; a single run has no spread over seeds, so its ratios have no interval"
    elif data["sequences"] < FEWEST:
        how = f"Only {counted(data['sequences'], 'sequence')} was measured, too few for intervals"
    else:
        how = (
            f"95 % intervals are Student's t, with the spread of {settings['draws']:,} bootstrap draws over "
            f"{counted(data['sequences'], 'sequence')}, {pairing}; they say what other text would "
            "change, not what another training would"
        )
    if _text_independent(run):
        how += (
            "; token 0 is the same token everywhere, so its norms depend on no text: from one training each they have "
            "no interval and no verdict"
        )
    parts = [f"{how}. Ratios within 1/{settings['margin']:g} to {settings['margin']:g} count as the same."]
    if run.info["layers_differ"]:
        counts = ", ".join(f"{printable(entry['name'], 24)} {entry['layers']}" for entry in entries)
        parts.append(
            f"The numbers of layers differ ({counts}): curves stand over relative depth, layer / (layers - 1)."
        )
    return " ".join(parts)


def outcomes(run: Run) -> list[str]:
    """A sentence per run: which of the first page's metrics get which verdict; then what more seeds would tell."""
    rows = rows_of(run)
    sentences = []
    for entry in run.info["runs"][1:]:
        judged: dict[str, list[str]] = {word: [] for word in (*JUDGED, NO_INTERVAL)}
        for metric in compared():
            word = rows[metric.name, entry["name"]]["verdict"]
            if metric.front_page and word in judged:
                judged[word].append(metric.short)
        parts = [f"{word}: {'; '.join(names)}" for word, names in judged.items() if names]  # names have commas
        name = printable(entry["name"], 60, keep_end=True)
        sentences.append(f"{name} - {'. '.join(_capital(parts)) or 'nothing could be judged'}.")
    return [*sentences, *filter(None, [_seeds_needed(run)])]


def _seeds_needed(run: Run) -> str:
    """How many seeds would tell from 1 what the seeds at hand leave unclear; empty where nothing is."""
    table = run["comparison"]
    short = {metric.name: metric.short for metric in compared() if metric.front_page}
    open_ = table[(table["verdict"] == UNCLEAR) & table["metric"].isin(list(short)) & table["seeds_needed"].notna()]
    said: dict[str, list[str]] = {}
    for row in open_.sort_values("seeds_needed", kind="stable").to_dict("records"):
        said.setdefault(str(row["run"]), []).append(f"{short[str(row['metric'])]} {row['seeds_needed']:.0f}")
    parts = [f"{printable(name, 40, keep_end=True)}: {'; '.join(needed)}" for name, needed in said.items()]
    if not parts:
        return ""
    told = "Seeds per name that would tell it from 1 four times in five, at this ratio and spread"
    return f"{told} - {'. '.join(parts)}."


def _capital(parts: list[str]) -> list[str]:
    """Every part after the first begins a sentence."""
    return [part if place == 0 else part[0].upper() + part[1:] for place, part in enumerate(parts)]


def _text_independent(run: Run) -> bool:
    """Whether token 0 has the same norm in every sequence of the reference: it is the same token, and sees itself."""
    row = rows_of(run)["residual_t0_mean", run.info["reference"]]
    several = any(entry["seeds"] > 1 for entry in run.info["runs"])
    many = run.info["runs"][0]["measured"][0]["data"]["sequences"] >= FEWEST
    return not several and many and row["value"] == row["value"] and row["low"] != row["low"]
