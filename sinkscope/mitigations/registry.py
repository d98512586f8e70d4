"""All mitigations by name. To add one: a file with a `KIND`, and its name here.

Names follow a grammar: `smooth`, `smooth-0.7`, `keep-8`. Several are put on together with a plus, as `rotate+clip`:
what changes weights first, then the prefix, then ranges, then the modules that are kept.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from difflib import get_close_matches

from transformers import PreTrainedModel

from sinkscope.errors import RequestError
from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.mitigations import clip, keep, prefix, rotate, smooth
from sinkscope.mitigations.mitigation import Kind, Mitigation, Subject, Variant
from sinkscope.names import NONE

KINDS: dict[str, Kind] = {module.KIND.name: module.KIND for module in (smooth, rotate, prefix, clip, keep)}
GRAMMAR = "; ".join([NONE, *(kind.grammar for kind in KINDS.values()), "several joined by +, as rotate+clip"])


@dataclass(frozen=True)
class Together(Mitigation):
    """Several mitigations, one after the other."""

    parts: tuple[Mitigation, ...] = ()

    @property
    def not_in_weights(self) -> str:
        """Of the first that does such a thing."""
        return next(filter(None, (part.not_in_weights for part in self.parts)), "")

    @property
    def changes_model(self) -> bool:
        """Whether one of them does."""
        return any(part.changes_model for part in self.parts)

    @property
    def ranks(self) -> bool:
        """Whether one of them does."""
        return any(part.ranks for part in self.parts)

    def passes(self, probes: int) -> int:
        """Those of all."""
        return sum(part.passes(probes) for part in self.parts)

    def applies_to(self, probe: Probe) -> bool:
        """Whether each of them makes a difference."""
        return all(part.applies_to(probe) for part in self.parts)

    def refuse(self, model: PreTrainedModel) -> None:
        """Refuses what one of them does."""
        for part in self.parts:
            part.refuse(model)

    def look(self, subject: Subject) -> None:
        """Refuses what one of them does."""
        for part in self.parts:
            part.look(subject)

    def variants(self, subject: Subject, probes: dict[str, Probe]) -> Iterator[Variant]:
        """Every variant of the first, changed by the next."""
        yield from _nested(self.parts, subject, Variant(subject.model, probes))

    def ready(self, subject: Subject, calibrated: CalibratedProbe) -> tuple[CalibratedProbe, str]:
        """What each of them makes of what the one before it made."""
        chosen = []
        for part in self.parts:
            calibrated, chose = part.ready(subject, calibrated)
            chosen += [chose] if chose else []
        return calibrated, "; ".join(chosen)


def _nested(parts: tuple[Mitigation, ...], subject: Subject, above: Variant) -> Iterator[Variant]:
    if not parts:
        yield above
        return
    of_first = parts[0].variants(replace(subject, model=above.model), above.probes)
    with closing(of_first) as variants:  # type: ignore[type-var]
        for variant in variants:
            chose = "; ".join(filter(None, (above.chose, variant.chose)))
            yield from _nested(parts[1:], subject, Variant(variant.model, variant.probes, chose))


def mitigation_of(name: str) -> Mitigation | None:
    """A mitigation by its name; None for `none`.

    Raises:
        RequestError: for a name that is none of the grammar's.
    """
    if name == NONE:
        return None
    parts = sorted((_part(part, name) for part in name.split("+")), key=lambda part: part.order)
    if len(parts) == 1:
        return parts[0]
    kinds = [type(part) for part in parts]
    if len(set(kinds)) < len(kinds) or sum(part.moves_weights for part in parts) > 1:
        raise RequestError(
            f"`mitigate={name}` joins mitigations that undo one another: name each kind once, and smooth or rotate"
        )
    return Together(name, tuple(parts))


def _part(part: str, name: str) -> Mitigation:
    kind, hyphen, argument = part.partition("-")
    try:
        return KINDS[kind].make(part, argument if hyphen else None)
    except (KeyError, ValueError):
        near = get_close_matches(kind, KINDS, 1)
        hint = f"; the nearest is {near[0]}" if near and near[0] != kind else ""
        raise RequestError(
            f"there is no mitigation {name or '(empty)'} for `mitigate`{hint}; there are: {GRAMMAR}"
        ) from None


def mitigations_of(names: Sequence[str]) -> dict[str, Mitigation]:
    """Mitigations by name, in order, without `none`.

    Raises:
        RequestError: for a name that is none of the grammar's.
    """
    if not names:
        raise RequestError(f"`mitigate` names no mitigation; there are: {GRAMMAR}")
    found = {name: mitigation_of(name) for name in names}
    return {name: one for name, one in found.items() if one is not None}
