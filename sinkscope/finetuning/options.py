"""What a person asks of a finetuning, flat, as the command line lists it; `settings` holds the same by its parts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinkscope.errors import RequestError
from sinkscope.fields import Section, described
from sinkscope.inputs import ModelSource, TextSource, Windows

if TYPE_CHECKING:
    from sinkscope.finetuning.settings import Finetuning


@dataclass(frozen=True)
class FinetuneOptions:
    """Options of a finetuning; what each is, its description says."""

    vscale: bool = described(False, "Put V-scale on the values.", Section.VSCALE)
    vscale_variant: str = described("learned", "Which variant.", Section.VSCALE, values="learned|fixed|backward-only")
    vscale_init: str = described(
        "calibrated",
        "Where C starts: read off the model's value norms, at the paper's, or at 0, to rise to the paper's.",
        Section.VSCALE,
        values="calibrated|paper|identity",
    )
    vscale_warmup: int = described(0, "Steps over which C rises from 0 to its start.", Section.VSCALE)
    control: bool = described(
        True, "Train the same without V-scale too, to hold the result against.", Section.VSCALE, both_ways=True
    )
    train: str = described("all", "What is trained.", Section.TRAINING, values="all|lora|theta")
    lora: bool = described(False, "Train low-rank layers (peft); the same as `train=lora`.", Section.TRAINING)
    lora_rank: int = described(16, "Rank of the low-rank layers; alpha is twice that.", Section.TRAINING)
    load_in: str | None = described(None, "Quantize the base (bitsandbytes).", Section.TRAINING, values="4bit|8bit")
    steps: int = described(100, "Optimizer steps.", Section.TRAINING)
    lr: float | None = described(
        None, "Peak learning rate; by default 2e-4, and 1e-2 for theta alone.", Section.TRAINING
    )
    warmup: int | None = described(None, "Steps of warm-up of the rate; by default a tenth.", Section.TRAINING)
    optimizer: str = described("adamw", "Optimizer.", Section.TRAINING, values="adamw|adamw8bit")
    batch_sequences: int = described(8, "Windows per step, over all processes.", Section.TRAINING)
    micro_sequences: int | None = described(
        None, "Windows per forward pass; gradients accumulate over a step.", Section.TRAINING
    )
    weight_decay: float = described(0.1, "Decay of matrices; nothing else decays.", Section.TRAINING)
    clip: float = described(1.0, "Largest gradient norm.", Section.TRAINING)
    precision: str = described(
        "auto", "bfloat16 is autocast over the loaded weights.", Section.TRAINING, values="auto|float32|bfloat16"
    )
    gradient_checkpointing: bool = described(False, "Recompute activations instead of keeping them.", Section.TRAINING)
    compile: bool = described(False, "Compile the training step.", Section.TRAINING)
    seed: int = described(0, "Random seed.", Section.TRAINING)
    checkpoint_every: int = described(500, "Steps between checkpoints; two are kept.", Section.TRAINING)
    evaluate_every: int = described(50, "Steps between measurements of the held-out loss.", Section.TRAINING)
    monitor: int | None = described(None, "Measure the headline metrics every N steps.", Section.TRAINING, values="N")
    log_to: str | None = described(None, "Log the metrics there too.", Section.TRAINING, values="tensorboard|wandb")

    @property
    def trained(self) -> str:
        """What is trained, by the name of `train`."""
        return "lora" if self.lora else self.train

    @property
    def with_control(self) -> bool:
        """Whether a control is trained: where V-scale is attached and something is left to train without it."""
        return self.control and self.vscale and self.trained != "theta"

    def settings(self, model: ModelSource, text: TextSource, windows: Windows, valid_sequences: int) -> "Finetuning":
        """The finetuning by its parts.

        Args:
            model: what is trained on.
            text: on what.
            windows: in which pieces: its `bos` and `tokens`.
            valid_sequences: windows of held-out text.

        Raises:
            RequestError: for options that exclude each other.
        """
        from sinkscope.finetuning.settings import CONTEXT, RATES, Finetuning, LoraSettings, VScaleStart
        from sinkscope.training.recipe import CheckpointConfig, DataConfig, OptimizerConfig, ScheduleConfig

        if self.lora and self.train == "theta":
            raise RequestError("`lora` and `train=theta` exclude each other")
        start = VScaleStart(self.vscale_variant, self.vscale_init, self.vscale_warmup)
        if not self.vscale and start != VScaleStart():
            raise RequestError("`vscale_variant`, `vscale_init` and `vscale_warmup` need `vscale`")
        return Finetuning(
            model=model.name,
            revision=model.revision,
            gguf_file=model.gguf_file,
            trust_remote_code=model.trust_remote_code,
            train=self.trained,
            lora=LoraSettings(rank=self.lora_rank, alpha=2 * self.lora_rank) if self.trained == "lora" else None,
            load_in=self.load_in,
            vscale=start if self.vscale else None,
            data=DataConfig.of(
                text, tokens=windows.tokens or CONTEXT, bos=windows.bos, valid_sequences=valid_sequences
            ),
            optimizer=OptimizerConfig(
                lr=self.lr if self.lr is not None else RATES.get(self.trained, 0.0),
                batch_sequences=self.batch_sequences,
                micro_sequences=self.micro_sequences,
                name=self.optimizer,  # type: ignore[arg-type]  # `Finetuning` looks at it
                weight_decay=self.weight_decay,
                clip=self.clip,
            ),
            schedule=ScheduleConfig(
                steps=self.steps, warmup=self.warmup if self.warmup is not None else max(1, self.steps // 10)
            ),
            checkpoint=CheckpointConfig(every=self.checkpoint_every, evaluate=self.evaluate_every, keep=2),
            seed=self.seed,
            precision=self.precision,
            compile=self.compile,
            gradient_checkpointing=self.gradient_checkpointing,
            monitor=self.monitor or 0,
        )
