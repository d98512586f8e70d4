"""All methods by name. To add one: a file in `library` with its rows, and its name here.

`none` is the model as it is loaded. The probes are a grammar rather than a list (`grammar`): `w8a8-dynamic`, `mxfp4`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sinkscope.errors import RequestError
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.grammar import CacheRounding, canonical, check_method, split
from sinkscope.methods.library import bitsandbytes, llmcompressor, torchao
from sinkscope.methods.library.method import Method
from sinkscope.methods.probes import Probe, parse_probe
from sinkscope.names import NONE

LIBRARY: dict[str, Method] = {
    method.name: method for method in (*bitsandbytes.METHODS, *torchao.METHODS, *llmcompressor.METHODS)
}


class Chosen(NamedTuple):
    """The methods of a run by name, in the order they were asked for.

    Attributes:
        probes: those of linear maps alone.
        library: those that a library puts on, and those that a cache is joined to.
        order: the names that were asked for.
        caches: those that round the cache, with a method of linear maps (`grammar.split`) or without.
    """

    probes: dict[str, Probe]
    library: dict[str, Method]
    order: list[str]
    caches: dict[str, CacheProbe]

    def joined_to(self, method: str) -> dict[str, CacheProbe]:
        """The caches that are joined to a method; those that stand alone for `none`."""
        return {name: cache for name, cache in self.caches.items() if split(name)[0] == method}

    @property
    def rounds_by_probe(self) -> bool:
        """Whether a probe rounds linear maps, by itself or under a cache."""
        return bool(self.probes) or any(parse_probe(split(name)[0]) is not None for name in self.caches)


def method_of(name: str, field: str = "quantize") -> Probe | Method | None:
    """A method by its name; None for `none`.

    Args:
        name: as a user typed it.
        field: where.

    Raises:
        RequestError: for an unknown name.
    """
    found = parse_probe(name) or LIBRARY.get(name)
    if found is None:
        check_method(name, field)
    return found


def choose(names: Sequence[str], *, allow_install: bool = False, environment: Path | None = None) -> Chosen:
    """Looks methods up, and refuses those that cannot run here. `none` comes first, asked for or not.

    Args:
        names: of methods.
        allow_install: whether methods may install what they need into an environment of their own.
        environment: where that is.

    Raises:
        SinkscopeError: for an unknown name, or a method whose package or GPU is missing.
    """
    order = list(dict.fromkeys([NONE, *map(canonical, names)]))
    for name in order:
        check_method(name, "methods")
    caches = {name: CacheProbe(of) for name in order if isinstance(of := split(name)[1], CacheRounding)}
    known = {name: method_of(name, "methods") for name in order if name not in caches}
    under = {split(name)[0]: method_of(split(name)[0], "methods") for name in caches}
    library = {name: method for name, method in {**known, **under}.items() if isinstance(method, Method)}
    for method in library.values():
        method.refuse(allow_install=allow_install, environment=environment)
    probes = {name: probe for name, probe in known.items() if isinstance(probe, Probe)}
    return Chosen(probes, library, order, caches)


def check_modules(modules: str | None, library: Iterable[str]) -> None:
    """Refuses a selection of modules beside a method that makes its own.

    Args:
        modules: patterns, or None.
        library: names of library methods.

    Raises:
        RequestError: if there are both.
    """
    name = next(iter(library), None)
    if modules is not None and name is not None:
        raise RequestError(
            f"`modules` selects modules for the probes, and {name} quantizes what its library does: leave out one of "
            "the two"
        )


def calibrates(chosen: Chosen, name: str) -> bool:
    """Whether a method fits its scales or weights to the calibration windows."""
    method = split(name)[0]
    of = parse_probe(method) or chosen.library.get(method)
    return of is not None and of.calibrates


def bits_and_granularity(chosen: Chosen, name: str) -> tuple[int | None, int | None, str]:
    """Weight bits, activation bits and granularity of a method."""
    if name in chosen.caches:
        *bits, scales = bits_and_granularity(chosen, split(name)[0])
        return bits[0], bits[1], "; ".join(filter(None, (scales, chosen.caches[name].granularity)))
    of = parse_probe(name) or chosen.library.get(name)
    return (None, None, "") if of is None else (of.weight_bits, of.activation_bits, of.granularity)
