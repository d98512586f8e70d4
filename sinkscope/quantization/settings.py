"""What a comparison of quantization methods is asked for: methods, calibration, ranking, and which models and text."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.inputs import ModelSource, TextSource, Windows, name_as_text

NONE = "none"  # the model as it is loaded
DEFAULT = (NONE, "w8a8-dynamic", "w8a8-static", "w8a8-static-down", "nf4", "int8")


@dataclass(frozen=True)
class QuantizationSettings:
    """Which methods are measured, and how.

    Attributes:
        methods: names of `quantization.methods`; `none` is always measured, as everything is compared with it.
        modules: shell patterns, separated by commas, of the linear modules that the probes quantize; None is all.
        calibration_data: a source of text to calibrate on; None is the evaluated windows.
        calibration_sequences: windows of it; None is as many as are evaluated.
        rank_by: the probe by which modules are ranked; None is w8a8-static or else the first probe.
        rank_sequences: windows that the ranking runs on; 0 leaves it out.
        rank_limit: rank this many modules, those with the noisiest outputs.
        seed: of the bootstrap.
        allow_install: whether methods may install what they need into an environment of their own.
        environment: where that environment is; None is the usual place.
    """

    methods: tuple[str, ...] = described(
        DEFAULT,
        "Methods, separated by commas: none, w8a8-dynamic, w8a8-static, w8a8-static-down, w8, a8-dynamic, a8-static (8 "
        "may be 2 to 8), nf4, int8, torchao-int8, torchao-int8-weights, smoothquant, gptq, awq.",
        Section.QUANTIZATION,
        values="LIST",
    )
    modules: str | None = described(
        None,
        "Linear modules that the probes quantize, as '*.mlp.*,*.o_proj'; default: all.",
        Section.QUANTIZATION,
        values="GLOB",
    )
    calibration_data: str | None = described(
        None,
        "Text to calibrate on, as `data`; default: the evaluated sequences.",
        Section.QUANTIZATION,
        values="SOURCE",
    )
    calibration_sequences: int | None = described(
        None, "Sequences of it; default: as `sequences`.", Section.QUANTIZATION
    )
    rank_by: str | None = described(
        None, "Probe that modules are ranked by; default: w8a8-static.", Section.QUANTIZATION, values="METHOD"
    )
    rank_sequences: int = described(4, "Sequences that the ranking runs on; 0: no ranking.", Section.QUANTIZATION)
    rank_limit: int = described(64, "Modules that are ranked, those with the noisiest outputs.", Section.QUANTIZATION)
    seed: int = described(0, "Seed of the bootstrap.", Section.QUANTIZATION)
    allow_install: bool = described(
        False, "Let smoothquant, gptq and awq install llm-compressor into its own environment.", Section.QUANTIZATION
    )
    environment: Path | None = described(
        None,
        "That environment's folder; default: $SINKSCOPE_LLMCOMPRESSOR, or ~/.cache/sinkscope/llmcompressor.",
        Section.QUANTIZATION,
    )

    def __post_init__(self) -> None:
        name_as_text(self, "calibration_data")
        given = self.calibration_sequences
        checks = {
            "`rank_sequences` must be at least 0": self.rank_sequences >= 0,
            "`rank_limit` must be at least 1": self.rank_limit >= 1,
            "`calibration_sequences` needs `calibration_data`": given is None or self.calibration_data is not None,
            "`calibration_sequences` must be at least 1": given is None or given >= 1,
        }
        for complaint, holds in checks.items():
            if not holds:
                raise RequestError(complaint)


class SettingsFields(TypedDict, total=False):
    """The fields of `QuantizationSettings` but its methods, as keyword arguments."""

    modules: str | None
    calibration_data: str | None
    calibration_sequences: int | None
    rank_by: str | None
    rank_sequences: int
    rank_limit: int
    seed: int
    allow_install: bool
    environment: str | Path | None


@dataclass(frozen=True)
class QuantizationRequest:
    """A comparison of methods on models by name.

    Attributes:
        models: the models, in full precision.
        text: what all of them read.
        windows: in which pieces; without a length, the first model's context settles it for all.
        settings: which methods, and how they are measured.
    """

    models: tuple[ModelSource, ...]
    text: TextSource = field(default_factory=TextSource)
    windows: Windows = field(default_factory=Windows)
    settings: QuantizationSettings = field(default_factory=QuantizationSettings)

    def __post_init__(self) -> None:
        names = {model.name for model in self.models}
        if not names or len(names) < len(self.models):
            raise RequestError("name at least one model, and each of them once")
        if any(model.quantize is not None for model in self.models):
            raise RequestError("the models to compare are loaded in full precision: name methods instead")

    @property
    def calibration_text(self) -> TextSource | None:
        """The text to calibrate on, read as the evaluated one is; None where that is calibrated on."""
        source = self.settings.calibration_data
        return None if source is None else replace(self.text, data=source)

    @property
    def calibration_windows(self) -> Windows:
        """The windows to calibrate on."""
        return replace(self.windows, sequences=self.settings.calibration_sequences or self.windows.count)
