"""What was measured so far: parts of the run's tables, and what is known of each model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch

from sinkscope.names import NONE
from sinkscope.passes.memory import peak_memory
from sinkscope.quantization.positions import position_losses
from sinkscope.tables.builder import Rows


@dataclass
class Measurements:
    """The measurements of all models, as they come in.

    Attributes:
        parts: parts of tables by the table's name.
        models: descriptions of the models.
        notes: what a reader should know of single rows.
        windows: SHA-256 of each model's windows.
        versions: versions of what runs outside this environment.
        chose: what a mitigation chose, in words, by model, method and mitigation.
        calibration_windows: where the windows that calibrated came from, of `model_text`; None where nothing did.
        calibration_sequences: how many there were, of the model that had fewest.
        targets: number of predicted tokens of the last model.
        device: where the models were.
        peak_memory: in bytes.
        plan: what was expected before the first pass, as run.json has it; None where nobody asked.
        saved: the checkpoint that was written, as run.json has it; None where nobody asked.
    """

    parts: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    windows: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    chose: dict[tuple[str, str, str], str] = field(default_factory=dict)
    calibration_windows: str | None = None
    calibration_sequences: int = 0
    targets: int = 0
    device: str = ""
    peak_memory: int = 0
    plan: dict[str, Any] | None = None
    saved: dict[str, Any] | None = None

    def add(self, table: str, part: pd.DataFrame) -> None:
        """Adds rows to a table."""
        self.parts.setdefault(table, []).append(part)

    def add_losses(
        self, model: str, method: str, measured: pd.DataFrame, *, mitigation: str = NONE, chose: str = ""
    ) -> None:
        """Adds the losses of a method's sequences, under a mitigation or none, and what that chose.

        Args:
            model: its name.
            method: its name.
            measured: of `ranking.losses`.
            mitigation: its name.
            chose: in words.
        """
        self.chose[model, method, mitigation] = chose
        rows = Rows("losses")
        rows.add(model=model, method=method, sequence=range(len(measured)), loss_sum=measured["loss_sum"].to_numpy(),
                 targets=measured["targets"].to_numpy(), mitigation=mitigation)  # fmt: skip
        self.add("losses", rows.frame())
        self.add("position_losses", position_losses(model, method, mitigation, measured))

    def add_outliers(self, model: str, headline: Mapping[str, Any], linear_absmax: float | None) -> None:
        """Adds what an analysis says of the unquantized model's outliers.

        Args:
            model: its name.
            headline: of the forward half of its analysis.
            linear_absmax: the largest |x| at the input of a linear module; None where nothing was calibrated.
        """
        rows = Rows("outliers")
        rows.add(
            model=model,
            abs_max=headline["abs_max"],
            abs_max_over_median=headline["abs_max_over_median"],
            kurtosis_max=headline["kurtosis_max"],
            linear_absmax=linear_absmax or float("nan"),
            sink_rate_mean=headline["sink_rate_mean"],
            sink_rate_max=headline["sink_rate_max"],
            massive_count=headline["massive_count"],
        )
        self.add("outliers", rows.frame())

    def calibrated_on(self, source: str, sequences: int) -> None:
        """Takes where the windows that calibrate a model came from, and how many there were."""
        if source:
            self.calibration_windows = source
            self.calibration_sequences = min(self.calibration_sequences or sequences, sequences)

    def used(self, device: torch.device) -> None:
        """Takes the peak of the memory that was used so far."""
        self.peak_memory = max(self.peak_memory, peak_memory(device))

    def table(self, name: str) -> pd.DataFrame:
        """A table of all models."""
        parts = [part for part in self.parts.get(name, []) if len(part)]
        return pd.concat(parts, ignore_index=True) if parts else Rows(name).frame()
