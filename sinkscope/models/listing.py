"""The known architectures as people look them up: what `sinkscope families` prints. Loads no torch."""

from collections.abc import Mapping
from typing import Any

from sinkscope.models.families import FAMILIES
from sinkscope.models.family import Family


def listing() -> list[dict[str, Any]]:
    """One entry per architecture, by name, of plain values for JSON."""
    return [_entry(FAMILIES[name]) for name in sorted(FAMILIES)]


def in_words(when: Mapping[str, Any]) -> str:
    """Configuration values as people say them: "alibi", "not parallel_attn", "num_ln_in_parallel_attn = 1"."""
    parts = [name if value is True else f"not {name}" if value is False else f"{name} = {value}"
             for name, value in when.items()]  # fmt: skip
    return " and ".join(parts)


def _entry(family: Family) -> dict[str, Any]:
    return {
        "model_type": family.model_type,
        "structures": _structures(family),
        "norm": family.norm.name,
        "features": [str(feature) for feature in family.features],
        "vscale": not family.no_valve,
        "vscale_refused": family.no_valve or None,
        "isolates_documents": family.isolates,
        "refused": [{"when": dict(case.when), "why": case.refused} for case in family.cases if case.refused],
        "notes": family.notes,
    }


def _structures(family: Family) -> list[dict[str, Any]]:
    """The structure without any case, and those that a case changes it to."""
    structures = [{"structure": family.structure, "when": {}}]
    for case in family.cases:
        if case.refused:
            continue
        structure = family.resolved(case.when).structure
        if structure not in [entry["structure"] for entry in structures]:
            structures.append({"structure": structure, "when": dict(case.when)})
    return structures
