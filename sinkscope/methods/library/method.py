"""What a library method is: a row of facts, a check before any work, and a function that loads the quantized model."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import MethodOptions, ModelSource
from sinkscope.loading.load import Loaded


@dataclass(frozen=True)
class LoadRequest:
    """What a method is given.

    Attributes:
        model: the model as the user named it.
        loading: options of `loading.load.load_model`, without `quantize`.
        calibration_ids: windows [N, T] for methods that calibrate; None for others.
        allow_install: whether a method may install what it needs into an environment of its own.
        environment: where that environment is; None takes the default.
    """

    model: str
    loading: dict[str, Any]
    calibration_ids: Tensor | None
    allow_install: bool
    environment: Path | None

    @classmethod
    def of(
        cls,
        source: ModelSource,
        options: MethodOptions,
        calibration_ids: Tensor | None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> Self:
        """What a method is given for a model that a source names.

        Args:
            source: the model; its `quantize` is the method's own affair.
            options: where it may install what it needs.
            calibration_ids: as above.
            tokenizer: taken instead of the model's own.
        """
        loading = {name: value for name, value in source.as_json().items() if name not in ("name", "quantize")}
        loading["tokenizer"] = tokenizer
        return cls(source.name, loading, calibration_ids, options.allow_install, options.environment)


@dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        name: as the user types it.
        weight_bits: bits of the weights.
        activation_bits: bits of the activations; None where they stay as they are.
        granularity: what shares a scale.
        load: loads the model quantized, in eval mode, with its V-scale where it has one.
        put_: puts the method on a loaded model in place; None where a library loads the model itself.
        streams: whether the weights can be quantized layer by layer as they are read.
        held_as: how memory holds the weights, of `names.QUANTIZATIONS`; None where they are held unquantized.
        no_gradient: why gradients do not pass through it; empty where they do.
        package: what must be importable here.
        extra: the extra of sinkscope that installs it; empty where sinkscope itself does.
        check: whatever else can be seen before any work: the permission to install, and the place to install to.
        versions: versions of what runs outside this environment, for run.json.
        vscale_note: what a reader should know about models with V-scale.
        calibrates: whether it fits anything to the calibration windows.
        needs_gpu: why it cannot run without a GPU; empty where it can.
    """

    name: str
    weight_bits: int
    activation_bits: int | None
    granularity: str
    load: Callable[[LoadRequest], Loaded]
    package: str
    extra: str = ""
    check: Callable[[bool, Path | None], None] = lambda _allow, _place: None
    versions: Callable[[Path | None], dict[str, str]] = lambda _place: {}
    vscale_note: str = ""
    calibrates: bool = False
    needs_gpu: str = ""
    put_: Callable[[PreTrainedModel], None] | None = None
    streams: bool = False
    held_as: str | None = None
    no_gradient: str = ""

    def refuse(self, *, allow_install: bool, environment: Path | None) -> None:
        """Refuses what cannot work, before anything is loaded.

        Raises:
            SinkscopeError: if a GPU or a package is missing.
        """
        if self.needs_gpu and not torch.cuda.is_available():
            raise SinkscopeError(f"{self.name} needs a GPU, and there is none here: {self.needs_gpu}")
        if find_spec(self.package) is None:
            wanted = f"'sinkscope[{self.extra}]'" if self.extra else self.package
            raise SinkscopeError(f"{self.name} needs {self.package}, which is not installed: pip install {wanted}")
        self.check(allow_install, environment)
