"""Where recipes are found: any TOML file by its path, the shipped ones also by name."""

import tomllib
from pathlib import Path
from typing import Any

from sinkscope.errors import RequestError

_PACKAGE = Path(__file__).parents[1]
# An installed package carries the recipes inside, a source tree has them beside the package.
_FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent / "recipes")


def find_recipe(name: str) -> Path:
    """The file of a recipe.

    Args:
        name: path of a TOML file, or the name of a shipped recipe, without suffix.

    Raises:
        SinkscopeError: if there is neither; the message lists the shipped recipes.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = {file.stem: file for folder in _FOLDERS for file in sorted(folder.glob("*.toml"))}
    if name not in shipped:
        raise RequestError(f"there is no recipe {name}: give a TOML file, or one of {', '.join(sorted(shipped))}")
    return shipped[name]


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """Reads `key=value` pairs.

    Args:
        pairs: dotted keys with values in TOML; a value that is no TOML is taken as a string, so that names need no
            quotes.

    Raises:
        SinkscopeError: for a pair without `=` or without a key.
    """
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals):
            raise RequestError(f"`set` takes key=value, not {pair}")
        try:
            overrides[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # no TOML, a number of thousands of digits, or brackets without end
            overrides[key.strip()] = value
    return overrides
