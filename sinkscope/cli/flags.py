"""Errors of the library, which name fields, in the words of the command line, which has options.

A field in backticks becomes its option: `sequences` --sequences, `bos=never` --bos never, `backward=False`
--no-backward. A field that no verb has an option for stays as it is.
"""

import re
from collections.abc import Sequence

_FIELD = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")
# Fields whose option has another name than the field.
_OPTIONS = {
    "config": "data-config",
    "split": "data-split",
    "streaming": "data-streaming",
    "column": "data-column",
    "special_tokens": "data-special-tokens",
}


def with_flags(message: str, flags: frozenset[str] | None = None, typed: Sequence[str] = ()) -> str:
    """The message with options for fields.

    Args:
        message: of a `SinkscopeError`, or advice in the same convention.
        flags: the options that there are, with their dashes; None where every field has one.
        typed: the command line; what stands in it in backticks is somebody's own text, and stays.
    """

    def option(field: re.Match[str]) -> str:
        name, value = field[1], field[2]
        flag = "--" + _OPTIONS.get(name, name).replace("_", "-")
        if value == "False":
            flag, value = flag.replace("--", "--no-", 1), None
        if (flags is not None and flag not in flags) or any(field[0] in word for word in typed):
            return field[0]
        return flag if value in (None, "", "True") else f"{flag} {value}"

    return _FIELD.sub(option, message)
