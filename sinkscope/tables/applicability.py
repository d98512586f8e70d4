"""What does not apply to a model's architecture, and why; pages print the reason in the place of the numbers."""

from sinkscope.tables.run_folder import Run


def reason(run: Run, name: str) -> str | None:
    """Why a site, table or quantity does not apply to the model of a run; None where it does."""
    why: str | None = run.info.get("not_applicable", {}).get(name)
    return why


def sentences(run: Run) -> list[str]:
    """A sentence per reason, with everything that does not apply because of it."""
    by_reason: dict[str, list[str]] = {}
    for name, why in run.info.get("not_applicable", {}).items():
        by_reason.setdefault(why, []).append(name)
    return [f"Not applicable here: {', '.join(names)}, as {why}." for why, names in by_reason.items()]
