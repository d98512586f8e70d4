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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from sinkscope.errors import SinkscopeError

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
    """A byte-level BPE trained on the spot on the training documents."""

    vocab_size: int


@dataclass(frozen=True)
class DataConfig:
    """Training text and its packing.

    Attributes:
        source: `stdlib`, a file or a folder, as `sinkscope analyze --data` takes them.
        tokens: length of a window, the context that is trained.
        bos: `always` puts <bos> at the start of every window, `never` leaves plain packing.
        holdout: every `holdout`-th document is kept for validation.
        valid_sequences: windows of the held-out documents that the validation loss is measured on.
    """

    source: str
    tokens: int
    bos: str = "never"
    holdout: int = 20
    valid_sequences: int = 128


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; weight decay acts on matrices (2-D weights) only."""

    lr: float
    batch_sequences: int
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
    """How often the whole training state is saved, and how often the validation loss is measured, in steps."""

    every: int = 500
    evaluate: int = 500


@dataclass(frozen=True)
class Recipe:
    """One training experiment, complete.

    Attributes:
        precision: `float32`, or `bfloat16` for autocast over float32 weights.
        attention: transformers' attention implementation; short contexts on a CPU are faster with `eager`.
        compile: whether the training step goes through `torch.compile` (needs a C++ compiler on a CPU).
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


_CHOICES: dict[tuple[type, str], tuple[str, ...]] = {
    (Recipe, "precision"): ("float32", "bfloat16"),
    (Recipe, "attention"): ("sdpa", "eager"),
    (DataConfig, "bos"): ("always", "never"),
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
                raise SinkscopeError(f"recipe {path.name}: `{key}` goes below a plain value", exit_code=2)
        inner[leaf] = value
    return _build(Recipe, table, path.name, "")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SinkscopeError(f"cannot read recipe {path}: {error.strerror}", exit_code=2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SinkscopeError(f"recipe {path} is not valid TOML: {error}", exit_code=2) from error


def _parent(path: Path, name: Any) -> dict[str, Any]:
    """The recipe that the recipe at `path` extends: one beside it, which extends none itself."""
    if not isinstance(name, str) or Path(name).name != name:
        raise SinkscopeError(f"recipe {path.name}: `extends` names a recipe beside it, without suffix", exit_code=2)
    table = _read(path.with_name(f"{name}.toml"))
    if "extends" in table:
        raise SinkscopeError(f"recipe {path.name} extends {name}, which extends another: one level is all", exit_code=2)
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
            raise SinkscopeError(f"recipe {source}: unknown key `{prefix}{key}`; known here: {known}", exit_code=2)
    values: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], source, prefix + name)
            choices = _CHOICES.get((cls, name))
            if choices and values[name] not in choices:
                raise SinkscopeError(f"recipe {source}: `{prefix}{name}` is one of {', '.join(choices)}", exit_code=2)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise SinkscopeError(f"recipe {source}: key `{prefix}{name}` is missing", exit_code=2)
    return cls(**values)


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise SinkscopeError(f"recipe {source}: `{key}` must be a table [{key}]", exit_code=2)
        return _build(hint, value, source, key + ".")
    if get_origin(hint) in (typing.Union, types.UnionType):
        for option in get_args(hint):
            if option is not type(None) and isinstance(value, option):
                return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    expected = getattr(hint, "__name__", str(hint))
    raise SinkscopeError(f"recipe {source}: `{key}` must be {expected}, not {value!r}", exit_code=2)
