"""The names of the probes: a grammar, understood without torch.

    probe        = [weights] [-] [inputs] [tail]  |  format [-tensor] [-static | -dynamic] [tail]
    weights      = w<bits>[g<group>][-asym]        |  w-format[-tensor]
    inputs       = a<bits>-static | a<bits>-dynamic  |  a-format[-static | -dynamic]
    tail         = -down | -dynamic-down
    cache        = cache-k<bits>v<bits>[-g<group>][-sinks<tokens>][-window<tokens>]
    generating   = quanto-cache-<bits>bit[-g<group>][-window<tokens>]  |  fp8-cache
    joined       = <probe or library's method>+<cache or generating>

A bare format rounds the weights and the inputs of every linear map but the head. `-down` leaves the down projections
alone to be rounded. `-dynamic-down`, behind static inputs, rounds everything, and gives the inputs of the down
projections a scale per token. Every probe has one canonical name, which leaves out what goes without saying: `fp8` for
`w-fp8-a-fp8-dynamic`, `w8a8-static` for `w8-a8-static`. A cache is this project's rounding of it, seen by every pass; a
generating one is transformers' own, which generation alone fills.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from sinkscope.errors import RequestError
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import ALIASES, FORMATS, Format, Integer, Scales
from sinkscope.names import GENERATING_METHODS, LIBRARY_METHODS, METHODS, MODEL_METHODS, NONE

BITS = range(2, 9)
CACHE_BITS = (2, 4, 8)
GROUP = 32
"""Values of a cache that share a scale, where a name says nothing else."""

_FORMAT = "|".join(sorted({*FORMATS, *ALIASES}, key=len, reverse=True))
_BITS, _COUNT = f"[{BITS[0]}-{BITS[-1]}]", r"[1-9]\d{0,6}"
_WEIGHTS = rf"w(?P<w>{_BITS})(?:g(?P<g>{_COUNT}))?(?P<asym>-asym)?|w-(?P<wf>{_FORMAT})(?P<wt>-tensor)?"
_INPUTS = rf"a(?P<a>{_BITS})-(?P<ak>static|dynamic)|a-(?P<af>{_FORMAT})(?:-(?P<afk>static|dynamic))?"
_TAIL = "(?:(?P<mixed>-dynamic-down)|(?P<down>-down))?"
_PAIR = re.compile(rf"(?:{_WEIGHTS})?-?(?:{_INPUTS})?{_TAIL}")
_BARE = re.compile(rf"(?P<f>{_FORMAT})(?P<t>-tensor)?(?:-(?P<k>static|dynamic))?{_TAIL}")
_CACHE = re.compile(rf"cache-k(?P<k>\d+)v(?P<v>\d+)(?:-g(?P<g>{_COUNT}))?(?:-sinks(?P<sinks>0|{_COUNT}))?"
                    rf"(?:-window(?P<window>0|{_COUNT}))?")  # fmt: skip
_QUANTO = re.compile(rf"quanto-cache-(?P<bits>[24])bit(?:-g(?P<g>{_COUNT}))?(?:-window(?P<window>{_COUNT}))?")
_PLUS = "+"

EXAMPLES = (
    *(f"w{b}" for b in BITS),
    *(f"a{b}-{kind}" for b in BITS for kind in ("static", "dynamic")),
    *(f"w{b}a{c}-{kind}{down}" for b in (8, 4) for c in (8, 4) for kind in ("static", "dynamic")
      for down in ("", "-down")),
    "w8a8-static-dynamic-down",
    *(f"w{b}g{g}{asym}" for b in (4, 3, 8) for g in (32, 64, 128) for asym in ("", "-asym")),
    *FORMATS,
    *(f"w-{f}" for f in FORMATS),
    *(f"w-{f}-a-{h}" for f in FORMATS for h in FORMATS if f != h),
    *(f"{f}-{kind}" for f in ("fp8", "fp8e5m2") for kind in ("static", "tensor", "tensor-static")),
    "nvfp4-dynamic", "w4g64-a8-dynamic", "w4g128-a8-dynamic",
    "quanto-cache-4bit", "quanto-cache-2bit", "fp8-cache", "w8a8-static+cache-k4v4", "mxfp4+cache-k4v4-sinks4",
    *(f"cache-k{k}v{v}{rest}" for k in CACHE_BITS for v in CACHE_BITS for rest in ("", "-sinks4-window128")),
)  # fmt: skip
"""Names among which the nearest to a mistyped one is looked for."""


@dataclass(frozen=True)
class Rounding:
    """What a name of the grammar says of linear maps.

    Attributes:
        weights: how weights are rounded; None leaves them alone.
        inputs: how inputs are; None leaves them alone.
        down: the MLPs' down projections only.
        mixed: inputs are static but those of the MLPs' down projections, which have a scale per token.
    """

    weights: Side | None
    inputs: Side | None
    down: bool = False
    mixed: bool = False

    @property
    def name(self) -> str:
        """The canonical name."""
        down = "-dynamic-down" if self.mixed else "-down" if self.down else ""
        weights, inputs = self.weights, self.inputs
        of_weights, of_inputs = _format_of(weights), _format_of(inputs)
        if weights is not None and inputs is not None and of_weights is not None and of_weights == of_inputs:
            return of_weights.name + _tensor(weights, of_weights) + _kind(inputs, of_weights, said=self.mixed) + down
        first = "" if weights is None else _weights_name(weights)
        second = "" if inputs is None else _inputs_name(inputs, said=self.mixed)
        plain = weights is None or (of_weights is None and weights.block is None and not _asymmetric(weights))
        joint = "-" if first and second and not (plain and of_inputs is None) else ""
        return first + joint + second + down


@dataclass(frozen=True)
class CacheRounding:
    """What a name of the grammar says of the cache.

    Attributes:
        key_bits: bits of keys, whose groups run over tokens, per channel.
        value_bits: bits of values, whose groups run over channels, per token.
        group: values of one group.
        sinks: first tokens that stay exact.
        window: most recent tokens, a query's own among them, that a query sees exactly.
    """

    key_bits: int
    value_bits: int
    group: int = GROUP
    sinks: int = 0
    window: int = 0

    @property
    def name(self) -> str:
        """The canonical name."""
        group = "" if self.group == GROUP else f"-g{self.group}"
        sinks = f"-sinks{self.sinks}" if self.sinks else ""
        window = f"-window{self.window}" if self.window else ""
        return f"cache-k{self.key_bits}v{self.value_bits}{group}{sinks}{window}"


@dataclass(frozen=True)
class GeneratingCache:
    """What a name of the grammar says of transformers' quantized cache.

    Attributes:
        backend: as transformers calls it: `quanto`, or `fp8`, one E4M3 scale per layer that the prompt sets.
        bits: of keys and values.
        group: values that share a scale and a zero: neighbours among the channels of one token, of keys too.
        window: most recent tokens that are exact, at most; then all of them are rounded.
    """

    backend: str
    bits: int
    group: int | None = None
    window: int | None = None

    @property
    def name(self) -> str:
        """The canonical name."""
        if self.backend == FP8_CACHE.backend:
            return "fp8-cache"
        group = "" if self.group == QUANTO_GROUP else f"-g{self.group}"
        window = "" if self.window == QUANTO_WINDOW else f"-window{self.window}"
        return f"quanto-cache-{self.bits}bit{group}{window}"


QUANTO_GROUP, QUANTO_WINDOW = 64, 128
"""What transformers takes where nothing else is said."""
FP8_CACHE = GeneratingCache("fp8", 8)


@dataclass(frozen=True)
class Joined:
    """A method of linear maps and a cache, both at once.

    Attributes:
        method: the canonical name of the first.
        cache: the second.
    """

    method: str
    cache: CacheRounding | GeneratingCache

    @property
    def name(self) -> str:
        """The canonical name."""
        return f"{self.method}{_PLUS}{self.cache.name}"


Parsed = Rounding | CacheRounding | GeneratingCache | Joined


def split(name: str) -> tuple[str, CacheRounding | GeneratingCache | None]:
    """A method's name as that of what is put on linear maps, `none` where nothing is, and the cache."""
    found = parse(name)
    if isinstance(found, Joined):
        return found.method, found.cache
    return (NONE, found) if isinstance(found, CacheRounding | GeneratingCache) else (name, None)


def parse(name: str) -> Parsed | None:
    """What a name says; None where it is none of the grammar's."""
    if _PLUS in name:
        return _joined(name)
    if name == "fp8-cache":
        return FP8_CACHE
    if match := _QUANTO.fullmatch(name):
        return GeneratingCache("quanto", int(match["bits"]), int(match["g"] or QUANTO_GROUP),
                               int(match["window"] or QUANTO_WINDOW))  # fmt: skip
    if match := _CACHE.fullmatch(name):
        numbers = {key: int(value) for key, value in match.groupdict().items() if value is not None}
        if numbers["k"] not in CACHE_BITS or numbers["v"] not in CACHE_BITS:
            return None
        return CacheRounding(numbers["k"], numbers["v"], numbers.get("g", GROUP), numbers.get("sinks", 0),
                             numbers.get("window", 0))  # fmt: skip
    if match := _BARE.fullmatch(name):
        row = _row(match["f"])
        weights, inputs = _weights_of(row, tensor=match["t"] is not None), _inputs_of(row, match["k"])
        return None if weights is None or inputs is None else _of(weights, inputs, match)
    match = _PAIR.fullmatch(name)
    if match is None or name.startswith("-"):
        return None
    weights = inputs = None
    if match["w"]:
        group = None if match["g"] is None else int(match["g"])
        weights = Side(Integer(int(match["w"]), match["asym"] is not None), Scope.CHANNEL, block=group)
    elif match["wf"]:
        weights = _weights_of(_row(match["wf"]), tensor=match["wt"] is not None)
    if match["a"]:
        inputs = _scaled(Side(Integer(int(match["a"])), Scope.TOKEN), static=match["ak"] == "static")
    elif match["af"]:
        inputs = _inputs_of(_row(match["af"]), match["afk"])
    asked = (match["w"] or match["wf"]), (match["a"] or match["af"])
    if not any(asked) or (asked[0] and weights is None) or (asked[1] and inputs is None):
        return None
    if name.removesuffix("-down").endswith("-") or (weights is None and name.startswith("-")):
        return None
    return _of(weights, inputs, match)


def canonical(name: str) -> str:
    """The canonical spelling of a method's name; the name itself where it is none of the grammar's."""
    found = parse(name)
    return name if found is None else found.name


def _joined(name: str) -> Joined | None:
    """Two parts, in either order: one of linear maps, one of the cache; None for anything else."""
    caches = [found for part in name.split(_PLUS) if isinstance(found := parse(part), CacheRounding | GeneratingCache)]
    others = [part for part in name.split(_PLUS) if isinstance(parse(part), Rounding) or part in LIBRARY_METHODS]
    if len(caches) != 1 or len(others) != 1 or name.count(_PLUS) != 1:
        return None
    return Joined(canonical(others[0]), caches[0])


def check_method(name: str, field: str, *, caches: bool = True) -> None:
    """Refuses a name that is no method.

    Args:
        name: as a user typed it.
        field: where.
        caches: whether methods that round the cache are taken.

    Raises:
        RequestError: with the nearest name and the grammar, in one line; and for a cache where none is taken.
    """
    found, cache = parse(name), split(name)[1]
    if isinstance(cache, GeneratingCache) and field == "methods":
        raise RequestError(
            f"{name} rounds the cache of generation alone, and the losses that are compared generate nothing: "
            "leave it out, and evaluate the model with it as `quantize`"
        )
    if cache is not None and not caches:
        raise RequestError(
            f"{name} rounds the cache, which a comparison of methods and an evaluation alone measure: leave out "
            f"`{field}`, and name it among the `methods` of quantize, or to evaluate"
        )
    if name == NONE or name in LIBRARY_METHODS or found is not None:
        return
    typed, known = name.lower(), [NONE, *LIBRARY_METHODS, *EXAMPLES]
    begun = sorted((other for other in known if len(typed) > 1 and other.startswith(typed)), key=len)
    near = begun or get_close_matches(typed, known, 1, 0.5)
    nearest = f"; the nearest is {near[0]}" if near else ""
    listed = METHODS if caches else MODEL_METHODS
    listed += f", {GENERATING_METHODS}" if caches and field != "methods" else ""
    if _PLUS in name:
        nearest = "; a + joins one method of linear maps and one cache, as w8a8-static+cache-k4v4" + nearest
    raise RequestError(f"there is no method {name or '(empty)'} for `{field}`{nearest}; there are: {listed}")


def _of(weights: Side | None, inputs: Side | None, match: re.Match[str]) -> Rounding | None:
    """Both sides with what follows them in a name; None for dynamic scales beside none that are static."""
    mixed = match["mixed"] is not None
    if mixed and (inputs is None or not inputs.calibrated):
        return None
    return Rounding(weights, inputs, match["down"] is not None, mixed)


def _row(name: str) -> Format:
    return FORMATS[ALIASES.get(name, name)]


def _weights_of(row: Format, *, tensor: bool) -> Side | None:
    """Weights in a format; None for one scale per tensor where there are blocks."""
    if tensor and row.block is not None:
        return None
    scope = Scope.TENSOR if tensor or row.scales is Scales.E4M3 else Scope.CHANNEL
    return Side(row.element, scope, row.scales, row.block)


def _inputs_of(row: Format, kind: str | None) -> Side | None:
    """Inputs in a format; None for a calibration, or none, where blocks have all the scales there are."""
    if kind is not None and row.static is None:
        return None
    static = bool(row.static) if kind is None else kind == "static"
    return _scaled(Side(row.element, Scope.TOKEN, row.scales, row.block), static=static)


def _scaled(side: Side, *, static: bool) -> Side:
    """Inputs scaled by token, or by the calibrated tensor."""
    return Side(side.element, Scope.TENSOR, side.scales, side.block, calibrated=True) if static else side


def _format_of(side: Side | None) -> Format | None:
    """The row whose format a side has; None for integers."""
    rows = (row for row in FORMATS.values() if side is not None)
    return next((row for row in rows if side is not None and (row.element, row.scales, row.block) ==
                 (side.element, side.scales, side.block)), None)  # fmt: skip


def _weights_name(side: Side) -> str:
    row = _format_of(side)
    if row is not None:
        return f"w-{row.name}{_tensor(side, row)}"
    group = "" if side.block is None else f"g{side.block}"
    return f"w{side.bits}{group}" + ("-asym" if _asymmetric(side) else "")


def _inputs_name(side: Side, *, said: bool) -> str:
    row = _format_of(side)
    if row is not None:
        return f"a-{row.name}{_kind(side, row, said=said)}"
    return f"a{side.bits}-{'static' if side.calibrated else 'dynamic'}"


def _tensor(side: Side, row: Format) -> str:
    return "-tensor" if side.scope is Scope.TENSOR and row.block is None else ""


def _kind(side: Side, row: Format, *, said: bool) -> str:
    """Whether scales are static, where that differs from the format's own way or is to be said."""
    if row.static is None or (side.calibrated == row.static and not said):
        return ""
    return "-static" if side.calibrated else "-dynamic"


def _asymmetric(side: Side) -> bool:
    return isinstance(side.element, Integer) and side.element.asymmetric
