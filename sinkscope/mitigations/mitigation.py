"""What a mitigation is: something done to a model, or to its calibration, so that rounding costs less.

It has two places to act. `variants` gives the models to put probes on: the model as it is, or a copy that computes the
same function with other weights. `ready` looks once more at a probe that was calibrated on such a model: it may take
other ranges, or leave modules out. What it does not say goes through unchanged, so mitigations follow one another.

Copies are whole: exactly undoing a change of weights in place would need the old ones beside the new, which is a copy
too. What needs hooks alone works in place and takes them off again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.methods.probes import CalibratedProbe, Probe
from sinkscope.passes.batches import Batch, first_windows


@dataclass(frozen=True)
class Subject:
    """What a mitigation may look at.

    Attributes:
        model: the unquantized model.
        label: its name, for messages.
        calibration: windows to calibrate on, in forward passes.
        windows: token ids [N, T] of the windows that are evaluated; only how they begin is looked at.
        tokenizer: the model's.
        isolated: whether documents of a window are kept apart.
        modules: patterns of the modules that probes quantize; None is all.
        seed: of what is drawn at random.
        rank: the names of a calibrated probe's modules on a model, those first whose sparing wins back most, out of so
            many with the noisiest outputs.
    """

    model: PreTrainedModel
    label: str
    calibration: list[Batch]
    windows: Tensor
    tokenizer: PreTrainedTokenizerBase | None = None
    isolated: bool = False
    modules: str | None = None
    seed: int = 0
    rank: Callable[[PreTrainedModel, CalibratedProbe, int], list[str]] | None = field(default=None, repr=False)

    @property
    def some(self) -> list[Batch]:
        """A few of the calibration windows, for what needs many passes."""
        return first_windows(self.calibration, FEW)


FEW = 4
"""Windows of calibration text at most where something is searched for."""


class Variant(NamedTuple):
    """A model to put probes on, those probes by name, and what the mitigation chose, in words."""

    model: PreTrainedModel
    probes: dict[str, Probe]
    chose: str = ""


@dataclass(frozen=True)
class Mitigation:
    """A mitigation that does nothing; the others override what they change.

    Attributes:
        name: as a user wrote it.
    """

    name: str

    order: ClassVar[int] = 0
    """Place among mitigations that are put on together: what changes weights comes first."""
    moves_weights: ClassVar[bool] = False
    """Whether the model is one with other weights."""
    unsaved: ClassVar[str] = ""
    """What it does that weights and scales alone cannot hold; empty where a checkpoint can be written."""

    @property
    def not_in_weights(self) -> str:
        """As `unsaved`, of all that it is made of."""
        return self.unsaved

    @property
    def changes_model(self) -> bool:
        """Whether probes are put on another model, or on one that reads something else."""
        return False

    @property
    def ranks(self) -> bool:
        """Whether every probe's modules are ranked, for the plan."""
        return False

    def passes(self, probes: int) -> int:  # noqa: ARG002
        """Forward passes over a few calibration windows that it takes to prepare so many probes, for the plan."""
        return 0

    def applies_to(self, probe: Probe) -> bool:  # noqa: ARG002
        """Whether the mitigation makes a difference to a probe."""
        return True

    def refuse(self, model: PreTrainedModel) -> None:
        """Refuses a model on which the mitigation would not be exact.

        Raises:
            SinkscopeError: naming what stands in the way.
        """

    def look(self, subject: Subject) -> None:
        """Refuses what a short look at the model and its text rules out, before anything else is measured.

        Raises:
            SinkscopeError: saying what was looked for.
        """

    def variants(self, subject: Subject, probes: dict[str, Probe]) -> Iterator[Variant]:
        """The models to put these probes on; each lasts until the next is asked for."""
        yield Variant(subject.model, probes)

    def ready(self, subject: Subject, calibrated: CalibratedProbe) -> tuple[CalibratedProbe, str]:  # noqa: ARG002
        """The probe as it is put on, and what was chosen, in words.

        Args:
            subject: its model is that of the variant.
            calibrated: the probe with the largest inputs of its modules on that model.
        """
        return calibrated, ""


class Kind(NamedTuple):
    """A row of the registry.

    Attributes:
        name: how names of this kind begin.
        grammar: the names in words.
        says: what it does, in half a sentence, for the report.
        make: from the name and what stands behind its first hyphen; raises ValueError for an argument that is none.
    """

    name: str
    grammar: str
    says: str
    make: Callable[[str, str | None], Mitigation]
