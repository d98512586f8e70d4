"""What a value of a document may be: strict, so that text is no number, 1.0 no count and true no 1; and finite."""

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, Strict

_LARGEST = 2**63 - 1  # what tensors, tables and JSON of other languages hold
_LARGEST_SIZE = 2**31 - 1

Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Name = Annotated[str, Strict(), Field(min_length=1)]
Whole = Annotated[int, Strict(), Field(ge=-_LARGEST, le=_LARGEST)]
Count = Annotated[int, Strict(), Field(ge=0, le=_LARGEST)]
Size = Annotated[int, Strict(), Field(ge=1, le=_LARGEST_SIZE)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Strict(), Field(ge=0, le=2**32 - 1)]
"""What numpy's generator takes."""

THEIRS = ConfigDict(extra="ignore")
"""A document that others own: what is not declared is theirs to know."""
OURS = ConfigDict(extra="forbid")
"""A document of ours, in which a name that is not declared is a mistake."""


def _only_none(value: Any) -> Any:
    if value is not None:
        raise ValueError("null")
    return value


Null = Annotated[None, BeforeValidator(_only_none)]
