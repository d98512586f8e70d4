"""Recipes: a TOML file in, frozen dataclasses out, and nothing guessed in between.

A recipe is data. Each table of the file is one dataclass below; a key that the dataclass does not have, a missing key
without a default, a value of another type or outside of its range is an error that names the key, so that a typo cannot
become a silent default, and no folder is taken for a training that cannot be. A recipe may extend another one beside it
(`extends = "demo"`) and then holds the differences alone. Nothing in a recipe is executed.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sinkscope.documents.read import check, read_toml
from sinkscope.documents.types import OURS, Count, Flag, Name, NotNegative, Positive, Seed, Share, Size, Text
from sinkscope.errors import RequestError
from sinkscope.inputs import TextSource

_Decay = Annotated[float, Field(strict=True, ge=0, lt=1)]
_AtLeastTwo = Annotated[int, Field(strict=True, ge=2, le=2**31 - 1)]
_Windows = Annotated[int, Field(strict=True, ge=1, le=2**24)]
_Vocabulary = Annotated[int, Field(strict=True, ge=258, le=2**31 - 1)]


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the `LlamaForCausalLM` to train; the names are transformers' own."""

    __pydantic_config__ = OURS

    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    num_key_value_heads: Size
    head_dim: Size
    initializer_range: Share = 0.02
    rope_theta: Positive = 10000.0
    rms_norm_eps: Positive = 1e-5
    tie_word_embeddings: Flag = False


@dataclass(frozen=True)
class TokenizerConfig:
    """Either a tokenizer that exists, or one trained on the spot on the training documents.

    Attributes:
        name: a folder, or an id on the Hugging Face Hub.
        vocab_size: entries of a byte-level BPE that is trained instead: two special tokens, 256 bytes, and more.
        documents: how many training documents it is trained on, the first ones; by default all.
    """

    __pydantic_config__ = OURS

    name: Name | None = None
    vocab_size: _Vocabulary | None = None
    documents: Size | None = None


@dataclass(frozen=True)
class DataConfig:
    """Training text and its packing.

    Attributes:
        source: `stdlib`, a file, a folder or a data set, as `data` of `sinkscope analyze`.
        tokens: length of a window, the context that is trained.
        bos: `always` puts <bos> at the start of every window, `never` leaves plain packing, `auto` does what the
            tokenizer does by itself.
        holdout: every `holdout`-th document is kept for validation, where no `valid_split` is named.
        valid_sequences: windows of the held-out documents that the validation loss is measured on.
        config: configuration of a data set.
        split: split of a data set to train on.
        valid_split: split of a data set to validate on.
        streaming: read a data set while it downloads.
        column: field that holds a row's text.
        special_tokens: take what spells a special token for that token.
    """

    __pydantic_config__ = OURS

    source: Name
    tokens: _AtLeastTwo
    bos: Literal["always", "never", "auto"] = "never"
    holdout: _AtLeastTwo = 20
    valid_sequences: _Windows = 128
    config: Text | None = None
    split: Text = "train"
    valid_split: Text | None = None
    streaming: Flag = False
    column: Text = "text"
    special_tokens: Flag = False

    @classmethod
    def of(cls, text: TextSource, **more: Any) -> "DataConfig":
        """The packing of a text.

        Args:
            text: the text.
            **more: the fields that a text has not.
        """
        values = text.as_json()
        return cls(source=values.pop("data"), **values, **more)

    def text(self, split: str | None = None) -> TextSource:
        """The text behind it.

        Args:
            split: another split of the same data set.
        """
        values = {**asdict(self), "data": self.source, "split": split or self.split}
        return TextSource.from_json(values)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; weight decay acts on matrices (2-D weights) only.

    Attributes:
        lr: peak learning rate.
        batch_sequences: windows per step, over all processes.
        micro_sequences: windows per forward pass of a process; gradients add up over the passes of a step. By default
            a process takes its share of the batch in one pass.
        name: `adamw`, or `adamw8bit` of bitsandbytes.
        clip: largest gradient norm; larger gradients are scaled down to it.
    """

    __pydantic_config__ = OURS

    lr: Positive
    batch_sequences: _Windows
    micro_sequences: _Windows | None = None
    name: Literal["adamw", "adamw8bit"] = "adamw"
    beta1: _Decay = 0.9
    beta2: _Decay = 0.95
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.1
    clip: Positive = 1.0


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate against step.

    Attributes:
        steps: optimizer steps in all.
        kind: `cosine` from the peak to `final`, or `linear`: constant, then a straight line to `final`.
        warmup: steps of linear warm-up from 0.
        decay: for `linear`, the share of all steps that decay takes, at the end.
        final: the rate as a share of the peak that step `steps` would have, the one behind the last.
    """

    __pydantic_config__ = OURS

    steps: Size
    kind: Literal["cosine", "linear"] = "cosine"
    warmup: Count = 1000
    decay: Share = 0.2
    final: NotNegative = 0.1


@dataclass(frozen=True)
class VScaleConfig:
    """V-scale from the first step, with the paper's C: `none`, or a variant of `sinkscope.vscale`."""

    __pydantic_config__ = OURS

    variant: Literal["none", "learned", "fixed", "backward-only"] = "none"


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept of a training on its way.

    Attributes:
        every: steps between saves of the whole training state.
        evaluate: steps between measurements of the validation loss.
        keep: how many checkpoints stay, the newest ones; 0 keeps all.
    """

    __pydantic_config__ = OURS

    every: Size = 500
    evaluate: Size = 500
    keep: Count = 0


@dataclass(frozen=True)
class Recipe:
    """One training experiment, complete.

    Attributes:
        precision: `float32`, or `bfloat16` for autocast over float32 weights.
        attention: transformers' attention implementation; short contexts on a CPU are faster with `eager`.
        compile: whether the training step goes through `torch.compile` (needs a C++ compiler on a CPU).
        gradient_checkpointing: recompute each layer's activations in the backward pass instead of keeping them.
        monitor: steps between measurements of the headline metrics on held-out windows; 0 makes none.
    """

    __pydantic_config__ = OURS

    name: Name
    model: ModelConfig
    tokenizer: TokenizerConfig
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    vscale: VScaleConfig = field(default_factory=VScaleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: Seed = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["sdpa", "eager"] = "sdpa"
    compile: Flag = False
    gradient_checkpointing: Flag = False
    monitor: Count = 0


def load_recipe(path: Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        path: a TOML file.
        overrides: values by dotted key (`optimizer.lr`) that replace the file's.

    Raises:
        SinkscopeError: for a missing file, bad TOML, an unknown or missing key, or a value of the wrong type.
    """
    table = _read(path)
    if "extends" in table:
        table = _overlaid(_parent(path, table.pop("extends")), table)
    for key, value in (overrides or {}).items():
        *parents, leaf = key.split(".")
        inner = table
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise RequestError(f"recipe {path.name}: '{key}' goes below a plain value")
        inner[leaf] = value
    recipe = check(table, Recipe, f"recipe {path.name}", wrong=RequestError)
    _check(recipe, path.name)
    return recipe


def _check(recipe: Recipe, source: str) -> None:
    """What no single key can say."""
    chosen = recipe.tokenizer
    if (chosen.name is None) == (chosen.vocab_size is None):
        complaint = "names a tokenizer by 'name', or gives the 'vocab_size' of one to train, and not both"
        raise RequestError(f"recipe {source}: [tokenizer] {complaint}")
    shape = recipe.model
    for key, many, divisor in (
        ("num_key_value_heads", shape.num_attention_heads, shape.num_key_value_heads),
        ("num_attention_heads", shape.hidden_size, shape.num_attention_heads),
    ):
        if many % divisor:
            raise RequestError(f"recipe {source}: 'model.{key}' must divide {many}, and {divisor} does not")
    if shape.head_dim % 2:
        raise RequestError(f"recipe {source}: 'model.head_dim' must be even, since rotations act on pairs of channels")


def _read(path: Path) -> dict[str, Any]:
    return read_toml(path, f"recipe {path}", wrong=RequestError)


def _parent(path: Path, name: Any) -> dict[str, Any]:
    """The recipe that the recipe at `path` extends: one beside it, which extends none itself."""
    if not isinstance(name, str) or Path(name).name != name:
        raise RequestError(f"recipe {path.name}: 'extends' names a recipe beside it, without suffix")
    table = _read(path.with_name(f"{name}.toml"))
    if "extends" in table:
        raise RequestError(f"recipe {path.name} extends {name}, which extends another: one level is all")
    return table


def _overlaid(base: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `table` in the place of its own, table by table."""
    result = dict(base)
    for key, value in table.items():
        below = base.get(key)
        result[key] = _overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
