"""Everything that a track is asked for, in one object."""

from dataclasses import MISSING, asdict, dataclass, field
from typing import Any

from sinkscope.capture.settings import Settings
from sinkscope.fields import Section, described
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows, name_as_text
from sinkscope.version import __version__

_METHOD = ("modules", "calibration_data", "calibration_sequences")  # of a method's options, what numbers depend on


@dataclass(frozen=True)
class CheckpointSource:
    """The checkpoints of one training run by name.

    Attributes:
        source: a folder of checkpoints, or a Hub id.
        revisions: pattern of the Hub model's revisions; None for a folder.
        tokenizer: folder or Hub id of the tokenizer; None for the first checkpoint's.
    """

    source: str = described(
        MISSING,
        "A folder of checkpoints of one training run, or with `revisions` a Hugging Face model id.",
        Section.MODEL,
        option="checkpoints",
        positional=True,
    )
    revisions: str | None = described(
        None,
        "The checkpoints are the Hub model's branches and tags that match.",
        Section.MODEL,
        values="PATTERN",
    )
    tokenizer: str | None = described(
        None, "Folder or Hub id of the tokenizer; by default the first checkpoint's.", Section.MODEL
    )

    def __post_init__(self) -> None:
        name_as_text(self, "source", "tokenizer")


@dataclass(frozen=True)
class TrackRequest:
    """A track of the checkpoints of one training run.

    Attributes:
        checkpoints: which.
        model: how each checkpoint is loaded; its name and revision are not used.
        method: how the quantization method that it names is put on each.
        text: what all of them read.
        windows: in which pieces.
        settings: what is measured.
        output: where the run is going to be saved; results so far are kept beside it.
    """

    checkpoints: CheckpointSource
    model: ModelSource = field(default_factory=ModelSource)
    method: MethodOptions = field(default_factory=MethodOptions, kw_only=True)
    text: TextSource = field(default_factory=TextSource)
    windows: Windows = field(default_factory=Windows)
    settings: Settings = field(default_factory=Settings)
    output: Output = field(default_factory=Output)

    def as_json(self) -> dict[str, Any]:
        """What the results depend on, JSON-serializable."""
        return {
            **self.model.as_json(),
            **asdict(self.checkpoints),
            **{name: getattr(self.method, name) for name in _METHOD},
            **self.text.as_json(),
            **self.windows.as_json(),
            "settings": asdict(self.settings),
            "sinkscope": __version__,
        }
