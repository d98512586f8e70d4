"""A model's sizes and its context under one set of names; configurations call them differently."""

from typing import Any, NamedTuple

from sinkscope.models.family import Family

LONGEST_DEFAULT = 2048
"""Tokens of a sequence where none is asked for and the model can read more."""


class Shape(NamedTuple):
    """Sizes of a model.

    Attributes:
        heads: query heads.
        kv_heads: key/value heads.
        hidden_size: channels of the residual stream.
        head_dim: channels of a value head.
        value_input: channels that a value is projected from.
        sigma: standard deviation of the initializer.
    """

    heads: int
    kv_heads: int
    hidden_size: int
    head_dim: int
    value_input: int
    sigma: float


def shape_of(family: Family, config: Any) -> Shape:
    """The sizes of a model of `family`, resolved for `config`."""
    config = config.get_text_config()
    heads = int(config.num_attention_heads)
    named = family.kv_heads
    kv_heads = named if isinstance(named, int) else getattr(config, named, None) or heads
    head_dim = getattr(config, family.head_dim, None) or config.hidden_size // heads
    return Shape(
        heads,
        int(kv_heads),
        int(config.hidden_size),
        int(head_dim),
        int(getattr(config, family.value_input)),
        float(getattr(config, family.initializer)),
    )


def context_of(config: Any) -> int | None:
    """The context: the longest sequence that a model can read. None where its configuration names no bound.

    Args:
        config: of the model. Where the model reads more than text, it is the configuration of the text part inside that
            names the context.
    """
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(longest) if longest else None


def default_tokens(config: Any, most: int = LONGEST_DEFAULT) -> int:
    """The length of a sequence where none is asked for: the model's context, but at most `most`."""
    return min(context_of(config) or most, most)
