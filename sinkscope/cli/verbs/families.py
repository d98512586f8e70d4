"""`sinkscope families`: which architectures are known, and what is known of them."""

from typing import TYPE_CHECKING, Any

from sinkscope.cli import options
from sinkscope.progress.display import ended
from sinkscope.terminal import show, tell, tell_json

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 140  # of the table where there is no terminal to ask


def families(json: options.FamiliesJson = False) -> None:
    """List the architectures that can be measured, and what is particular about each."""
    from sinkscope.models.listing import listing

    entries = listing()
    ended()
    if json:
        from json import dumps

        tell_json(dumps(entries, indent=1))
        return
    show(_table(entries), _WIDTH)
    tell("docs/architectures.md says what the structures are, and how to add an architecture.")


def _table(entries: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("model_type", "structure", "norm", "particular about it", "V-scale"):
        table.add_column(name)
    for entry in entries:
        table.add_row(
            entry["model_type"],
            "\n".join(_structure(one) for one in entry["structures"]),
            entry["norm"],
            "\n".join(_particulars(entry)),
            "yes" if entry["vscale"] else f"no: {entry['vscale_refused']}",
        )
    return table


def _structure(entry: dict[str, Any]) -> str:
    from sinkscope.models.listing import in_words

    return f"{entry['structure']}  if {in_words(entry['when'])}" if entry["when"] else str(entry["structure"])


def _particulars(entry: dict[str, Any]) -> list[str]:
    from sinkscope.models.listing import in_words

    lines = [", ".join(part for part in (*entry["features"], entry["notes"]) if part)]
    lines += [f"refused with {in_words(case['when'])}: {case['why']}" for case in entry["refused"]]
    lines += [] if entry["isolates_documents"] else ["no --isolate-documents"]
    return [line for line in lines if line]
