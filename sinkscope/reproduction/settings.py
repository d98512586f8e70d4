"""Everything that a reproduction is asked for, in one object."""

from dataclasses import dataclass, field
from pathlib import Path

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.inputs import ModelSource, name_as_text

_SCALES = "mini|demo|10m|0.1b|0.3b|1b"
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Subject:
    """What the claims are tested on: a trio that is trained, or one model that there is.

    Attributes:
        scale: a name of `scales.SCALES`.
        on: a model by name, for the claims that need no training; instead of a scale.
        seeds: trainings of each of the trio; None is the scale's own number.
        data: a source of text that every model reads; None is the recipe's, of a model `stdlib`.
        sequences: windows of it; None is the scale's, of a model 32.
        tokens: their length; None is the recipe's context, of a model its own, at most 2048.
    """

    scale: str | None = described(None, "Size of the trio to train.", Section.TRAINING, values=_SCALES)
    on: str | None = described(
        None,
        "Instead of `scale`: a model, as analyze takes it, for the claims that need no training.",
        Section.MODEL,
        option="model",
    )
    seeds: int | None = described(None, "Trainings of each of the trio; by default the scale's.", Section.TRAINING)
    data: str | None = described(
        None, "Text to measure on; by default the recipe's, of a model stdlib.", Section.DATA, values="SOURCE"
    )
    sequences: int | None = described(None, "Sequences of it; by default the scale's, of a model 32.", Section.DATA)
    tokens: int | None = described(
        None, "Tokens per sequence; by default the recipe's context, of a model its own up to 2048.", Section.DATA
    )

    def __post_init__(self) -> None:
        name_as_text(self, "on", "data")
        if (self.scale is None) == (self.on is None):
            raise RequestError(
                f"`scale` names a trio to train ({_SCALES}), or `model` one that there is: give one of the two"
            )
        if self.on is not None and self.seeds is not None:
            raise RequestError("`seeds` are trainings of a `scale`: a `model` is one")
        if self.on is not None and not self.on.strip():
            raise RequestError("`model` names no model")
        checks = {
            f"`seeds` must be from 1 to {_MOST_SEEDS}": self.seeds is None or 1 <= self.seeds <= _MOST_SEEDS,
            "`sequences` must be at least 1": self.sequences is None or self.sequences >= 1,
            "`tokens` must be at least 2": self.tokens is None or self.tokens >= 2,
        }
        for complaint, holds in checks.items():
            if not holds:
                raise RequestError(complaint)


@dataclass(frozen=True)
class Place:
    """Where a reproduction goes.

    Attributes:
        out: the folder; a folder for each kind of stage lies in it.
        resume: go on with what is there: whatever is finished for the same request stays.
        dry_run: say what would be done, and what it would take here, and train nothing.
    """

    out: Path = described(Path("runs/reproduction"), "Folder for trainings, runs and the report.", Section.OUTPUT)
    resume: bool = described(False, "Go on with what is there: what is finished stays as it is.", Section.OUTPUT)
    dry_run: bool = described(False, "List the stages and what they would take here; train nothing.", Section.OUTPUT)


@dataclass(frozen=True)
class ReproductionRequest:
    """A reproduction.

    Attributes:
        subject: what is trained and tested.
        place: where it goes.
        model: how a model that there is gets loaded; its name is not used.
        command: that asked for it, for provenance.
    """

    subject: Subject
    place: Place = field(default_factory=Place)
    model: ModelSource = field(default_factory=ModelSource)
    command: str | None = None
