"""All methods by name. To add one: a file in `library` with its rows, and its name here.

`none` is the model as it is loaded. The probes are a grammar rather than a list: `w8a8-dynamic`, `w4`, `a6-static`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sinkscope.errors import RequestError
from sinkscope.quantization.library import bitsandbytes, llmcompressor, torchao
from sinkscope.quantization.library.method import Method
from sinkscope.quantization.probes import GRAMMAR, Probe, parse_probe
from sinkscope.quantization.settings import NONE

LIBRARY: dict[str, Method] = {
    method.name: method for method in (*bitsandbytes.METHODS, *torchao.METHODS, *llmcompressor.METHODS)
}


class Chosen(NamedTuple):
    """The methods of a run by name, in the order they were asked for."""

    probes: dict[str, Probe]
    library: dict[str, Method]
    order: list[str]


def choose(names: Sequence[str], *, allow_install: bool = False, environment: Path | None = None) -> Chosen:
    """Looks methods up, and refuses those that cannot run here. `none` comes first, asked for or not.

    Args:
        names: of methods.
        allow_install: whether methods may install what they need into an environment of their own.
        environment: where that is.

    Raises:
        SinkscopeError: for an unknown name, or a method whose package or GPU is missing.
    """
    order = list(dict.fromkeys([NONE, *names]))
    probes = {name: probe for name in order if (probe := parse_probe(name)) is not None}
    unknown = [name for name in order if name != NONE and name not in probes and name not in LIBRARY]
    if unknown:
        raise RequestError(f"there is no method {unknown[0] or '(empty)'}; there are: {NONE}, {GRAMMAR}, "
                             f"{', '.join(LIBRARY)}")  # fmt: skip
    library = {name: LIBRARY[name] for name in order if name in LIBRARY}
    for method in library.values():
        method.refuse(allow_install=allow_install, environment=environment)
    return Chosen(probes, library, order)


def calibrates(chosen: Chosen, name: str) -> bool:
    """Whether a method fits its scales or weights to the calibration windows."""
    if name in chosen.probes:
        return chosen.probes[name].static and chosen.probes[name].activation_bits is not None
    return name in chosen.library and chosen.library[name].calibrates


def bits_and_granularity(chosen: Chosen, name: str) -> tuple[int | None, int | None, str]:
    """Weight bits, activation bits and granularity of a method."""
    if name == NONE:
        return None, None, ""
    of = chosen.probes.get(name) or chosen.library[name]
    return of.weight_bits, of.activation_bits, of.granularity
