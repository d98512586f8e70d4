"""`keep`: the modules that do most damage stay unquantized.

Which those are is ranked for each format by itself, on calibration text: by what the loss wins back where all modules
are quantized but this one, among the modules with the noisiest outputs. `keep` spares three modules, `keep-8` eight.
"""

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from sinkscope.errors import RequestError
from sinkscope.methods.probes import CalibratedProbe
from sinkscope.mitigations.mitigation import Kind, Mitigation, Subject

DEFAULT = 3
SHORTLIST = 16  # modules that are ranked, those with the noisiest outputs, or as many as are kept if that is more


@dataclass(frozen=True)
class Keep(Mitigation):
    """A probe that leaves `count` modules out."""

    count: int = DEFAULT

    order: ClassVar[int] = 3

    @property
    def ranks(self) -> bool:
        """For each probe by itself."""
        return True

    def ready(self, subject: Subject, calibrated: CalibratedProbe) -> tuple[CalibratedProbe, str]:
        """The probe without the modules that the ranking puts first."""
        if subject.rank is None:
            raise RequestError(
                f"`mitigate={self.name}` takes modules from a ranking: `rank_sequences` must be at least 1"
            )
        if self.count >= len(calibrated.places):
            raise RequestError(
                f"`mitigate={self.name}` would leave none of the {len(calibrated.places)} modules of {calibrated.name} "
                "quantized"
            )
        kept = subject.rank(subject.model, calibrated, max(SHORTLIST, self.count))[: self.count]
        if len(kept) < self.count:
            raise RequestError(f"`mitigate={self.name}` takes more modules than `rank_limit={len(kept)}` ranks")
        places = [place for place in calibrated.places if place.name not in kept]
        named = {place.name: f"layer {place.layer}'s {place.site.rpartition('.')[2]}" for place in calibrated.places}
        return replace(calibrated, places=places), ", ".join(named[name] for name in kept)


def _make(name: str, argument: str | None) -> Keep:
    if argument is not None and not re.fullmatch("[0-9]{1,6}", argument):
        raise ValueError(name)
    count = DEFAULT if argument is None else int(argument)
    if count < 1:
        raise ValueError(name)
    return Keep(name, count)


KIND = Kind("keep", "keep (3 modules), keep-8", "the most damaging modules stay unquantized", _make)
