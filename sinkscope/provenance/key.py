"""What the declaration of run.json is made of."""

from dataclasses import dataclass, replace

SCALARS = {"text": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),)}
"""Types of values by the word that declares them. A boolean is no number."""
CONTAINERS = ("object", "list of objects")
"""Types whose content is declared by keys of its own."""


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        name: with those that it stands under, as `data.tokens`. `*` is any name, and `[]` every item of a list, as in
            `checkpoints[].step`.
        type: one of `SCALARS`, `list of` one of them, one of `CONTAINERS`, or several with `or` between them.
        meaning: what it says.
        always: whether it is there whenever the key that it stands under is.
        added: whether it came after the first runs of this schema, which lack it: read as null there, always written.
        least: the smallest that an integer may be.
        most: the largest.
    """

    name: str
    type: str
    meaning: str
    always: bool = True
    added: bool = False
    least: int = 0
    most: int = 2**63 - 1

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The types that a value may have."""
        return tuple(self.type.split(" or "))


@dataclass(frozen=True)
class RunKind:
    """One kind of run.

    Attributes:
        name: what `kind` says.
        meaning: what made it.
        keys: all, in order; a key comes after the one that it stands under.
        own: those that are not in the sections that kinds share.
    """

    name: str
    meaning: str
    keys: tuple[Key, ...]
    own: tuple[Key, ...]


def under(name: str, *keys: Key) -> tuple[Key, ...]:
    """The keys with `name` before theirs."""
    return tuple(replace(key, name=f"{name}.{key.name}") for key in keys)


def without(keys: tuple[Key, ...], *names: str) -> tuple[Key, ...]:
    """The keys but for those of some names, and what stands under these."""
    return tuple(key for key in keys if not any(key.name == name or key.name.startswith(f"{name}.") for name in names))
