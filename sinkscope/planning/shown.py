"""A plan in one line, and as a notebook shows it: the choice, what every driver needs, the time, what to know."""

from collections.abc import Sequence
from html import escape

from sinkscope.durations import duration_text
from sinkscope.planning.choose import Choice, size
from sinkscope.planning.estimate import Work
from sinkscope.planning.speed import Duration

_HEAD = ("driver", "weights", "activations", "statistics", "between layers", "all")


def line(name: str, work: Work, choice: Choice, time: Duration) -> str:
    """A plan in a line."""
    need = size(choice.needs[choice.driver].total)
    return (
        f"<Plan: {ascii(name)[1:-1]}, {work.sequences} x {work.tokens} tokens: {choice.driver} on "
        f"{choice.device}, {need}{'' if choice.fits else ' (does not fit)'}, {_time(time)}>"
    )


def html(name: str, work: Work, choice: Choice, time: Duration, warnings: Sequence[str]) -> str:
    """A plan as HTML, everything in it escaped."""
    rows = []
    for driver, need in choice.needs.items():
        parts = (need.weights, need.activations + need.scratch, need.statistics, need.boundary, need.total)
        tag = "th" if driver == choice.driver else "td"
        rows.append(f"<tr><{tag}>{escape(driver)}</{tag}>{''.join(f'<td>{escape(size(p))}</td>' for p in parts)}</tr>")
    head = "".join(f"<th>{title}</th>" for title in _HEAD)
    said = [
        f"{work.sequences} sequences of {work.tokens} tokens, {work.micro_batch} per pass",
        f"driver: {choice.driver} ({'fits' if choice.fits else 'does not fit'}): {choice.reason}",
        f"time: {time.time_class}, {_time(time)}",
        *warnings,
    ]
    listed = "".join(f"<li>{escape(sentence)}</li>" for sentence in said)
    return (
        f'<div class="sinkscope-plan"><strong>{escape(name)}</strong><ul>{listed}</ul>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _time(time: Duration) -> str:
    reading = f" and {duration_text(time.reading)} of reading weights" if time.reading else ""
    return f"about {duration_text(time.computing)}{reading}"
