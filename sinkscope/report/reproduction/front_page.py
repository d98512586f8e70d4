"""The first page: every claim with its verdict, failures in the same table, and what decided it."""

from typing import Any

from sinkscope.intervals.verdicts import REFUTED, REPRODUCED, UNDECIDED, UNTESTABLE
from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page, paragraph
from sinkscope.report.reproduction.ruled import Columns, ruled
from sinkscope.report.reproduction.words import bound_in_words, counted_claims, found_in_words, trio_in_words, why
from sinkscope.tables.run_folder import Run

_COLUMNS = Columns(("", "claim", "verdict", "what decided it"), (0.03, 0.36, 0.13, 0.48))
_FIRST = 0.905
_MOST = 4  # tests that are named for a claim


def draw(run: Run) -> Page:
    """What was tested, how many claims have which verdict, and all claims."""
    page = Page()
    top = paragraph(page, f"{trio_in_words(run)}. {counted_claims(run)}", top=_FIRST, size=style.BODY, weight="bold")
    claims: Any = run["claims"].to_dict("records")
    rows = [
        (str(row["claim"]), row["says"], row["verdict"], deciding(run, row["claim"], row["verdict"])) for row in claims
    ]
    ruled(page, _COLUMNS, rows, top - 0.012)
    return page


def deciding(run: Run, claim: int, verdict: str) -> str:
    """The tests that a claim's verdict comes from: the ones that fell where it fell, else all of them in a count."""
    tests = run["tests"]
    own = tests[tests["claim"] == claim]
    if verdict == REPRODUCED:
        first: Any = own.to_dict("records")[0]
        more = "" if len(own) == 1 else f", and {len(own) - 1} more"
        return f"{_said(first)}{more}"
    fallen: Any = own[own["verdict"] == verdict].to_dict("records")
    words = "; ".join(_said(row) for row in fallen[:_MOST])
    more = f"; and {len(fallen) - _MOST} more" if len(fallen) > _MOST else ""
    reproduced = int((own["verdict"] == REPRODUCED).sum())
    held = f" ({reproduced} of {len(own)} tests reproduced)" if reproduced and verdict in (REFUTED, UNDECIDED) else ""
    return f"{words}{more}{held}"


def _said(row: dict[str, Any]) -> str:
    if row["verdict"] == UNTESTABLE:
        return f"{row['test']}: {row['reason']}"
    reason = f", {why(row)}" if row["verdict"] == UNDECIDED else ""
    return f"{row['test']}: {found_in_words(row)}, claimed {bound_in_words(row)}{reason}"


ENTRY = Entry(
    "claims",
    "The paper's claims, and what came out",
    draw,
    "Every claim's tests, bounds and margins are declared in docs/claims.md, and so is what was changed after a run. "
    "By the 95 % interval of a "
    "test's number: wholly on the claimed side of the bound, reproduced; wholly on the other, not reproduced; else "
    "undecided. A claim is reproduced where all its tests are, and not where one is not. Not testable: the number "
    "cannot be had, or what the claim presupposes was not reproduced.",
    words=True,
)
