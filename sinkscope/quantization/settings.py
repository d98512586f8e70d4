"""What a comparison of quantization methods is asked for: methods, calibration, ranking, and which models and text."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows, refuse_huge
from sinkscope.keywords import MethodFields
from sinkscope.names import METHODS, MITIGATIONS, NONE

DEFAULT = (NONE, "w8a8-dynamic", "w8a8-static", "w8a8-static-down", "nf4", "int8")


@dataclass(frozen=True)
class QuantizationSettings(MethodOptions):
    """Which methods are measured, and how. Without `calibration_data`, windows behind the evaluated ones calibrate.

    Attributes:
        methods: names of `methods.choose`; `none` is always measured, as everything is compared with it.
        mitigate: names of `mitigations.registry`, under each of which every probe is measured; `none` always is.
        rank_by: the probe by which modules are ranked; None is w8a8-static or else the first probe.
        rank_sequences: windows that the ranking runs on; 0 leaves it out.
        rank_limit: rank this many modules, those with the noisiest outputs.
        seed: of the bootstrap.
        save: the folder for a checkpoint of one row, which vLLM and transformers read; None writes none.
        save_row: that row, as `w4g128` or `smooth/w8a8-static`; None is the best one by the rule of `saving`.
    """

    methods: tuple[str, ...] = described(
        DEFAULT, f"Methods, separated by commas: {METHODS}.", Section.QUANTIZATION, values="LIST", before="modules"
    )
    mitigate: tuple[str, ...] = described(
        (NONE,),
        f"What is done about outliers before rounding, separated by commas: {MITIGATIONS}.",
        Section.QUANTIZATION,
        values="LIST",
        before="modules",
    )
    rank_by: str | None = described(
        None,
        "Probe that modules are ranked by; default: w8a8-static.",
        Section.QUANTIZATION,
        values="METHOD",
        before="allow_install",
    )
    rank_sequences: int = described(
        4, "Sequences that the ranking runs on; 0: no ranking.", Section.QUANTIZATION, before="allow_install"
    )
    rank_limit: int = described(
        64, "Modules that are ranked, those with the noisiest outputs.", Section.QUANTIZATION, before="allow_install"
    )
    seed: int = described(0, "Seed of the bootstrap.", Section.QUANTIZATION, before="allow_install")
    save: Path | None = described(
        None, "Folder for the best row's model as a compressed-tensors checkpoint.", Section.OUTPUT, values="DIR"
    )
    save_row: str | None = described(
        None, "The row to `save` instead: w4g128, or smooth/w8a8-static.", Section.OUTPUT, values="ROW"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.mitigate
        object.__setattr__(self, "mitigate", (given,) if isinstance(given, str) else tuple(given))
        checks = {
            "`rank_sequences` must be at least 0": self.rank_sequences >= 0,
            "`rank_limit` must be at least 1": self.rank_limit >= 1,
            "`seed` must be from 0 to 2^63 - 1": 0 <= self.seed < 2**63,
            "`save_row` names the row to `save`: name the folder too": self.save_row is None or self.save is not None,
        }
        for complaint, holds in checks.items():
            if not holds:
                raise RequestError(complaint)
        refuse_huge(self, "rank_sequences", "rank_limit")


class SettingsFields(MethodFields, total=False):
    """The fields of `QuantizationSettings` but its methods, as keyword arguments."""

    mitigate: Sequence[str]
    rank_by: str | None
    rank_sequences: int
    rank_limit: int
    seed: int
    save: str | Path | None
    save_row: str | None


@dataclass(frozen=True)
class QuantizationRequest:
    """A comparison of methods on models by name.

    Attributes:
        models: the models, in full precision.
        text: what all of them read.
        windows: in which pieces; without a length, the first model's context settles it for all.
        settings: which methods, and how they are measured.
        output: where the run is going to be saved; what is measured so far is kept beside it.
    """

    models: tuple[ModelSource, ...]
    text: TextSource = field(default_factory=TextSource)
    windows: Windows = field(default_factory=Windows)
    settings: QuantizationSettings = field(default_factory=QuantizationSettings)
    output: Output = field(default_factory=Output)

    def __post_init__(self) -> None:
        names = {model.name for model in self.models}
        if not names or len(names) < len(self.models):
            raise RequestError("name at least one model, and each of them once")
        if any(model.quantize is not None for model in self.models):
            raise RequestError("the models to compare are loaded in full precision: name methods instead")
        if self.settings.save is not None and len(self.models) > 1:
            raise RequestError("`save` writes a checkpoint of one model: name one, or leave it out")
        out, save = self.output.out, self.settings.save
        if out is not None and save is not None:
            run, checkpoint = (place.expanduser().absolute() for place in (out, save))
            if run == checkpoint or run in checkpoint.parents or checkpoint in run.parents:
                raise RequestError("`save` and `out` lie in each other: name two folders")

    @property
    def calibration_text(self) -> TextSource | None:
        """The text to calibrate on, read as the evaluated one is; None where it is the evaluated one, further on."""
        source = self.settings.calibration_data
        return None if source is None else replace(self.text, data=source)

    @property
    def calibration_windows(self) -> Windows:
        """The windows to calibrate on."""
        return replace(self.windows, sequences=self.settings.calibration_sequences or self.windows.count)
