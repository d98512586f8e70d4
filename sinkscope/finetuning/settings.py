"""The settings of a finetuning: what `sinkscope finetune` was asked for, complete.

They are written down when a run begins, and a resumed run must agree with them.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sinkscope.documents.complaint import Complaint
from sinkscope.documents.read import problem
from sinkscope.documents.types import OURS, Count, Positive, Seed, Share, Size
from sinkscope.errors import RequestError
from sinkscope.names import QUANTIZATION_ALIASES, QUANTIZATIONS
from sinkscope.training.recipe import CheckpointConfig, DataConfig, OptimizerConfig, ScheduleConfig
from sinkscope.vscale.module import VARIANTS

TRAINED = ("all", "lora", "theta")
STARTS = ("calibrated", "paper", "identity")
PRECISIONS = ("auto", "float32", "bfloat16")
RATES = {"all": 2e-4, "lora": 2e-4, "theta": 1e-2}
"""Default peak learning rates by what is trained."""
BEFORE, AFTER, CONTROL = "before", "after", "control"  # the models that are compared, by name
CONTEXT = 0
"""In the place of a window's length: the model's context, at most `sinkscope.models.shape.LONGEST_DEFAULT`."""

_OPTIONS = {"source": "data", "every": "checkpoint_every", "evaluate": "evaluate_every", "rank": "lora_rank"}
"""Fields of the parts of a finetuning whose options have other names."""


@dataclass(frozen=True)
class VScaleStart:
    """How V-scale starts on a finished model.

    Attributes:
        variant: one of `sinkscope.vscale.VARIANTS`.
        init: `calibrated` reads C off the model's own value norms, `paper` off its initializer; `identity` starts
            without a valve and raises C to the paper's over `warmup` steps.
        warmup: steps over which C rises in a straight line from 0; 0 starts with all of it.
    """

    variant: str = "learned"
    init: str = "calibrated"
    warmup: int = 0

    def __post_init__(self) -> None:
        for option, value, choices in (
            ("`vscale_variant`", self.variant, VARIANTS),
            ("`vscale_init`", self.init, STARTS),
        ):
            if value not in choices:
                raise RequestError(f"{option} is one of {', '.join(choices)}, not {value}")
        if self.warmup < 0:
            raise RequestError("`vscale_warmup` cannot be negative")
        if self.init == "identity" and not self.warmup:
            raise RequestError("`vscale_init=identity` needs `vscale_warmup`, the steps over which C rises")


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adaptation (peft) of every linear layer but the output head."""

    __pydantic_config__ = OURS

    rank: Size = 16
    alpha: Positive = 32
    dropout: Share = 0.0


@dataclass(frozen=True)
class Finetuning:
    """A finetuning, complete.

    Attributes:
        model: a packaged model, a folder, or a Hub id.
        train: `all` weights, `lora`, or V-scale's `theta` alone.
        load_in: quantizes the base, whose weights then cannot be trained: one of `names.QUANTIZATIONS`, or of their
            other spellings, `4bit` and `8bit`.
        vscale: how V-scale starts; None trains the model as it is.
        precision: `bfloat16` for autocast, `float32`, or `auto`, which is bfloat16 on a GPU.
    """

    model: str
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    revision: str | None = None
    trust_remote_code: bool = False
    train: str = "all"
    lora: LoraSettings | None = None
    load_in: str | None = None
    vscale: VScaleStart | None = None
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: int = 0
    precision: str = "auto"
    compile: bool = False
    gradient_checkpointing: bool = False
    monitor: int = 0
    gguf_file: str | None = None

    def __post_init__(self) -> None:
        bases = (*QUANTIZATIONS, *QUANTIZATION_ALIASES)
        if self.load_in not in (None, *bases):
            raise RequestError(
                f"`load_in` is one of {', '.join(bases)}, not {self.load_in}: it holds the base that training runs "
                "through in fewer bits (QLoRA), while other methods are for measuring what came out"
            )
        for option, value, choices in (
            ("`train`", self.train, TRAINED),
            ("`precision`", self.precision, PRECISIONS),
            ("`optimizer`", self.optimizer.name, ("adamw", "adamw8bit")),
        ):
            if value not in choices:
                named = ", ".join(choice for choice in choices if choice is not None)
                raise RequestError(f"{option} is one of {named}, not {value}")
        self._refuse_out_of_range()
        if self.load_in is not None and self.train == "all":
            raise RequestError("quantized weights cannot be trained: use `lora` or `train=theta`")
        if self.train == "theta" and self.vscale is None:
            raise RequestError("`train=theta` trains V-scale: it needs `vscale`")
        if self.train == "theta" and self.vscale is not None and self.vscale.variant != "learned":
            raise RequestError(f"the {self.vscale.variant} variant has no theta to train: use `train=all`")

    def _refuse_out_of_range(self) -> None:
        """What a recipe may say, a finetuning may ask for; the options that say it have some other names."""
        data = self.data if self.data.tokens != CONTEXT else replace(self.data, tokens=2)
        parts: list[Any] = [data, self.optimizer, self.schedule, self.checkpoint, *([self.lora] if self.lora else [])]
        wrong = [problem(asdict(part), type(part)) for part in parts]
        for name, found in (("seed", problem(self.seed, Seed)), ("monitor", problem(self.monitor, Count))):
            wrong.append(None if found is None else Complaint(name, *found[1:]))
        for found in wrong:
            if found is not None:
                raise RequestError(f"`{_OPTIONS.get(found.where, found.where)}` {found.what}")

    @property
    def quantize(self) -> str | None:
        """The base's quantization, one of `names.QUANTIZATIONS`, or None."""
        return None if self.load_in is None else QUANTIZATION_ALIASES.get(self.load_in, self.load_in)
