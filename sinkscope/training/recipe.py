"""Recipes: a TOML file in, frozen dataclasses out, and nothing guessed in between.

A recipe is data. Each table of the file is one dataclass below; a key that the dataclass does not have, a missing key
without a default, or a value of another type is an error that names the key, so that a typo cannot become a silent
default. A recipe may extend another one beside it (`extends = "demo"`) and then holds the differences alone. Nothing in
a recipe is executed.
"""

import dataclasses
import tomllib
import types
import typing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from sinkscope.errors import RequestError
from sinkscope.inputs import TextSource

T = TypeVar("T")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the `LlamaForCausalLM` to train; the names are transformers' own."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    initializer_range: float = 0.02
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False


@dataclass(frozen=True)
class TokenizerConfig:
    """Either a tokenizer that exists, or one trained on the spot on the training documents.

    Attributes:
        name: a folder, or an id on the Hugging Face Hub.
        vocab_size: entries of a byte-level BPE that is trained instead.
        documents: how many training documents it is trained on, the first ones; by default all.
    """

    name: str | None = None
    vocab_size: int | None = None
    documents: int | None = None


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

    source: str
    tokens: int
    bos: str = "never"
    holdout: int = 20
    valid_sequences: int = 128
    config: str | None = None
    split: str = "train"
    valid_split: str | None = None
    streaming: bool = False
    column: str = "text"
    special_tokens: bool = False

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

    lr: float
    batch_sequences: int
    micro_sequences: int | None = None
    name: str = "adamw"
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate against step.

    Attributes:
        steps: optimizer steps in all.
        kind: `cosine` from the peak to `final`, or `linear`: constant, then a straight line to `final`.
        warmup: steps of linear warm-up from 0.
        decay: for `linear`, the share of all steps that decay takes, at the end.
        final: last rate as a share of the peak.
    """

    steps: int
    kind: str = "cosine"
    warmup: int = 1000
    decay: float = 0.2
    final: float = 0.1


@dataclass(frozen=True)
class VScaleConfig:
    """V-scale from the first step, with the paper's C: `none`, or a variant of `sinkscope.vscale`."""

    variant: str = "none"


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept of a training on its way.

    Attributes:
        every: steps between saves of the whole training state.
        evaluate: steps between measurements of the validation loss.
        keep: how many checkpoints stay, the newest ones; 0 keeps all.
    """

    every: int = 500
    evaluate: int = 500
    keep: int = 0


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

    name: str
    model: ModelConfig
    tokenizer: TokenizerConfig
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    vscale: VScaleConfig = field(default_factory=VScaleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: int = 0
    precision: str = "float32"
    attention: str = "sdpa"
    compile: bool = False
    gradient_checkpointing: bool = False
    monitor: int = 0


_CHOICES: dict[tuple[type, str], tuple[str, ...]] = {
    (Recipe, "precision"): ("float32", "bfloat16"),
    (Recipe, "attention"): ("sdpa", "eager"),
    (DataConfig, "bos"): ("always", "never", "auto"),
    (OptimizerConfig, "name"): ("adamw", "adamw8bit"),
    (VScaleConfig, "variant"): ("none", "learned", "fixed", "backward-only"),
    (ScheduleConfig, "kind"): ("cosine", "linear"),
}


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
    recipe = _build(Recipe, table, path.name, "")
    _check(recipe, path.name)
    return recipe


def _check(recipe: Recipe, source: str) -> None:
    """What no single key can say."""
    chosen = recipe.tokenizer
    if (chosen.name is None) == (chosen.vocab_size is None):
        complaint = "names a tokenizer by 'name', or gives the 'vocab_size' of one to train, and not both"
        raise RequestError(f"recipe {source}: [tokenizer] {complaint}")
    smallest = {
        "data.tokens": (recipe.data.tokens, 2),
        "data.holdout": (recipe.data.holdout, 2),
        "data.valid_sequences": (recipe.data.valid_sequences, 1),
        "optimizer.batch_sequences": (recipe.optimizer.batch_sequences, 1),
        "optimizer.micro_sequences": (recipe.optimizer.micro_sequences or 1, 1),
        "schedule.steps": (recipe.schedule.steps, 1),
        "checkpoint.every": (recipe.checkpoint.every, 1),
        "checkpoint.evaluate": (recipe.checkpoint.evaluate, 1),
        "checkpoint.keep": (recipe.checkpoint.keep, 0),
        "monitor": (recipe.monitor, 0),
    }
    for key, (value, least) in smallest.items():
        if value < least:
            raise RequestError(f"recipe {source}: '{key}' must be at least {least}, not {value}")
    for key, rate in (("optimizer.lr", recipe.optimizer.lr), ("optimizer.clip", recipe.optimizer.clip)):
        if not rate > 0:
            raise RequestError(f"recipe {source}: '{key}' must be above 0, not {rate}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"recipe {path} is not valid TOML: {error}") from error


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


def _build(cls: type[T], table: dict[str, Any], source: str, prefix: str) -> T:
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            known = ", ".join(prefix + name for name in fields)
            raise RequestError(f"recipe {source}: unknown key '{prefix}{key}'; known here: {known}")
    values: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], source, prefix + name)
            choices = _CHOICES.get((cls, name))
            if choices and values[name] not in choices:
                raise RequestError(f"recipe {source}: '{prefix}{name}' is one of {', '.join(choices)}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise RequestError(f"recipe {source}: key '{prefix}{name}' is missing")
    return cls(**values)


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise RequestError(f"recipe {source}: '{key}' must be a table [{key}]")
        return _build(hint, value, source, key + ".")
    if get_origin(hint) in (typing.Union, types.UnionType):
        for option in get_args(hint):
            if option is not type(None) and isinstance(value, option) and not isinstance(value, bool):
                return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    expected = getattr(hint, "__name__", str(hint).removesuffix(" | None"))
    raise RequestError(f"recipe {source}: '{key}' must be {expected}, not {value!r}")
