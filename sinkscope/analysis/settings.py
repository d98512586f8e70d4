"""How the passes of an analysis are made, and everything that an analysis is asked for in one object."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from sinkscope.capture.settings import Settings
from sinkscope.fields import Section, described
from sinkscope.inputs import MethodOptions, ModelSource, Output, TextSource, Windows


@dataclass(frozen=True)
class DriverChoice:
    """Which driver makes the passes.

    Attributes:
        stream: hold one layer's weights in memory at a time; None does so where a model would not fit otherwise.
        gradient_checkpointing: hold one layer's activations at a time and compute them again on the way back, for long
            sequences; part of `stream`.
        spill: a folder for the states between layers, which either of the two otherwise keeps in memory.
    """

    stream: bool | None = described(
        None,
        "Hold one layer's weights in memory at a time; by default where it must be.",
        Section.MODEL,
        both_ways=True,
    )
    gradient_checkpointing: bool = described(
        False, "Hold one layer's activations at a time, and compute them twice.", Section.MEASUREMENT
    )
    spill: Path | None = described(
        None, "Folder that holds the states between layers instead of memory.", Section.MEASUREMENT, values="DIR"
    )


class DriverFields(TypedDict, total=False):
    """The fields of `DriverChoice`, as keyword arguments."""

    stream: bool | None
    gradient_checkpointing: bool
    spill: str | Path | None


@dataclass(frozen=True)
class AnalysisRequest:
    """An analysis of a model by name.

    Attributes:
        model: the model.
        method: how the quantization method that it names is put on it.
        text: what it reads.
        windows: in which pieces.
        settings: what is measured.
        driver: how the passes are made.
        output: where the run is going to be saved; the state of an unfinished analysis is kept beside it.
    """

    model: ModelSource = field(default_factory=ModelSource)
    method: MethodOptions = field(default_factory=MethodOptions, kw_only=True)
    text: TextSource = field(default_factory=TextSource)
    windows: Windows = field(default_factory=Windows)
    settings: Settings = field(default_factory=Settings)
    driver: DriverChoice = field(default_factory=DriverChoice)
    output: Output = field(default_factory=Output)
