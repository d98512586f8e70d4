"""Declaring the fields of a request, so that the command line can make its options from them.

A request is a frozen dataclass. Each of its fields is declared once, with its default, the sentence that explains it
and the section that it belongs to. The command line reads these declarations, so that a new option of every verb is one
field. Nothing here knows how an option is spelled or parsed. Where the sentence of a field mentions another field, it
does so in backticks, as errors do.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_KEY = "sinkscope"


class Section(StrEnum):
    """What a field decides. The value is the section's heading."""

    MODEL = "Model"
    DATA = "Data"
    MEASUREMENT = "Measurement"
    OUTPUT = "Output"
    TRAINING = "Training"
    VSCALE = "V-scale"
    COMPARISON = "Comparison"
    QUANTIZATION = "Quantization"
    PERPLEXITY = "Perplexity"
    NEEDLES = "Needles"
    TASKS = "Tasks"
    ABLATION = "Ablation"


@dataclass(frozen=True)
class Description:
    """The declaration of a field.

    Attributes:
        text: one sentence, other fields in `backticks`; of a field that only can be turned off, of turning it off.
        section: where it is listed.
        values: what it takes, as `auto|always|never`; None lets its type say it.
        option: its name where it stands beside fields of other classes; None is its own.
        positional: whether it is given by its place instead of its name.
        only_off: whether a truth value that is on by default can only be turned off.
        both_ways: whether a truth value can be turned on and off by name.
        or_none: whether `none`, typed for several values, stands for an empty list.
        before: the field, of any class, that it is listed before; None keeps the order of declaration.
    """

    text: str
    section: Section
    values: str | None = None
    option: str | None = None
    positional: bool = False
    only_off: bool = False
    both_ways: bool = False
    or_none: bool = False
    before: str | None = None


def described(default: Any, text: str, section: Section, **more: Any) -> Any:
    """A dataclass's field with its description.

    Args:
        default: the default value; `dataclasses.MISSING` for a field that has to be given.
        text: as in `Description`.
        section: as in `Description`.
        **more: the other attributes of `Description`.
    """
    return dataclasses.field(default=default, metadata={_KEY: Description(text, section, **more)})


def descriptions(request: type) -> dict[str, Description]:
    """The described fields of a dataclass, in order."""
    fields = {field.name: field.metadata.get(_KEY) for field in dataclasses.fields(request)}
    return {name: description for name, description in fields.items() if description is not None}
