"""What must agree before two runs may be compared, and what is said where it does not.

The number of sequences per forward pass, the device and the library versions may differ: what is measured does not
depend on them. So may everything about the model, which is what a comparison is about.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.provenance.begin import SCHEMA
from sinkscope.tables.run_folder import Run

NEEDED = ("layers", "positions", "branches", "values", "sequences", "gradient_blocks")
QUANTIZATION = "quantization"
_DATA = ("sequences", "tokens", "isolated_documents")
_FREE_SETTINGS = ("batch_size",)
_SHAPE = ("family", "layers", "heads", "kv_heads", "hidden_size", "head_dim", "vscale", "quantization", "dtype")


def check_runs(runs: Sequence[Run], names: Sequence[str]) -> None:
    """Refuses what no option makes comparable.

    Raises:
        SinkscopeError: for fewer than two names, a run that is no analysis, another schema, a missing table, or runs of
            one name that do not differ by their training seed.
    """
    if len(runs) != len(names):
        raise ValueError(f"{len(runs)} runs and {len(names)} names")
    if len(set(names)) < 2:
        raise RequestError("a comparison needs at least two runs of different names")
    for run, name in zip(runs, names, strict=True):
        kind, schema = run.info.get("kind"), run.info.get("schema", SCHEMA)
        if schema != SCHEMA:
            raise SinkscopeError(f"{name} has schema {schema}, this version compares {SCHEMA}: analyze it again")
        if kind != "analysis":
            raise RequestError(f"{name} is a run of kind {kind}, and runs of kind analysis are compared")
        missing = [table for table in NEEDED if table not in run.tables]
        if missing:
            raise SinkscopeError(f"{name} lacks the table {missing[0]}: analyze it again")
    for name in dict.fromkeys(names):
        _check_seeds(name, [run for run, other in zip(runs, names, strict=True) if other == name])


def check_pairs(names: Sequence[str]) -> None:
    """Refuses names that cannot be paired run by run.

    Raises:
        RequestError: where names have different numbers of runs, or one run each.
    """
    counts = Counter(names)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise RequestError(f"`paired_seeds` pairs the n-th runs of all names, and there are {listed}")
    if max(counts.values()) == 1:
        raise RequestError("`paired_seeds` needs several runs of each name, as NAME=RUN,RUN,RUN")


def _check_seeds(name: str, runs: Sequence[Run]) -> None:
    for key in _SHAPE:
        values = {str(run.info["model"].get(key) or None) for run in runs}
        if len(values) > 1:
            raise RequestError(
                f"the runs of {name} are no seeds of one model, their {key} differs ({', '.join(sorted(values))}): "
                "give them names of their own"
            )
    hashes = Counter(run.info["model"].get("weights_sha256") for run in runs)
    if any(count > 1 for sha, count in hashes.items() if sha is not None):
        raise RequestError(f"two runs of {name} have the same weights, so they are no two seeds")


def mismatches(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """What differs between the data and settings of the runs and those of the first, one phrase each."""
    first, reference = runs[0], names[0]
    phrases: dict[str, None] = {}
    for run, name in zip(runs[1:], names[1:], strict=True):
        for phrase in _differences(first.info, run.info):
            phrases[f"{phrase} of {reference} and {name}"] = None
    return list(phrases)


def check_quantized(runs: Mapping[str, Run]) -> None:
    """Refuses what is no quantization run, or lacks its table.

    Raises:
        SinkscopeError: names the run.
    """
    for name, run in runs.items():
        if run.info.get("kind") != QUANTIZATION:
            raise RequestError(f"{name} is a run of kind {run.info.get('kind')}, not {QUANTIZATION}")
        if "quantization" not in run.tables:
            raise SinkscopeError(f"{name} lacks the table quantization: quantize again")


def quantized_mismatches(runs: Mapping[str, Run]) -> list[str]:
    """The windows of quantization runs, where these do not agree."""
    windows = sorted({str(windows) for run in runs.values() for windows in run["quantization"]["windows"]})
    phrases = [f"windows of quantization ({', '.join(windows)}) of {', '.join(runs)}"] if len(windows) > 1 else []
    for key in ("sequences", "tokens"):  # a hash is of all tokens in a row, however they are cut
        values = list(dict.fromkeys(str(run.info.get("data", {}).get(key)) for run in runs.values()))
        if len(values) > 1:
            phrases.append(f"{key} of quantization ({' and '.join(values)}) of {', '.join(runs)}")
    return phrases


def same_windows(one: Run, other: Run) -> bool:
    """Whether two runs read the very same windows of tokens."""
    keys = ("sha256", "sequences", "tokens")  # a hash is of all tokens in a row, however they are cut
    windows = [[run.info["data"].get(key) for key in keys] for run in (one, other)]
    return None not in windows[0] and windows[0] == windows[1]


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    phrases = []
    hashes = [info["data"].get("sha256") for info in (one, other)]
    if None in hashes:
        phrases.append("data (not known to be the same: no sha256)")
    elif hashes[0] != hashes[1]:
        sources = [info["data"]["source"] for info in (one, other)]
        phrases.append(f"data (sha256 {hashes[0][:8]} and {hashes[1][:8]} of {sources[0]} and {sources[1]})")
    phrases += _unequal("", *({key: info["data"].get(key) for key in _DATA} for info in (one, other)))
    phrases += _unequal("setting ", _settings(one), _settings(other))
    phrases += [f"convention of {key}" for key in _keys(one["conventions"], other["conventions"])]
    return phrases


def _settings(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info["settings"].items() if key not in _FREE_SETTINGS}


def _unequal(prefix: str, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [f"{prefix}{key} ({one.get(key)} and {other.get(key)})" for key in _keys(one, other)]


def _keys(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]
