"""Names of probes: what they mean, one canonical spelling each, and an error that explains them."""

import re
import subprocess
import sys
from itertools import product

import pytest

from sinkscope.errors import RequestError
from sinkscope.methods.choose import LIBRARY, choose, method_of
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import ALIASES, E2M1, E4M3, FORMATS, Integer, Scales
from sinkscope.methods.grammar import (
    BITS,
    CACHE_BITS,
    EXAMPLES,
    CacheRounding,
    GeneratingCache,
    Joined,
    Parsed,
    Rounding,
    canonical,
    check_method,
    parse,
    split,
)
from sinkscope.names import LIBRARY_METHODS, NONE

WEIGHTS = ["", *(f"w{b}" for b in BITS), "w4g32", "w3g64", "w4g128-asym", "w8-asym", *(f"w-{f}" for f in FORMATS),
           "w-fp8-tensor", "w-mxfp8e4m3"]  # fmt: skip
INPUTS = ["", *(f"a{b}-{k}" for b in BITS for k in ("static", "dynamic")), *(f"a-{f}" for f in FORMATS),
          "a-fp8-static", "a-fp8-dynamic", "a-nvfp4-dynamic", "a-nvfp4-static", "a-mxfp4e2m1"]  # fmt: skip
BARE = [*FORMATS, *ALIASES, "fp8-static", "fp8-dynamic", "fp8-tensor", "fp8e5m2-tensor-static", "nvfp4-dynamic"]
CACHES = [f"cache-k{k}v{v}{g}{s}{w}" for k, v, g, s, w in product(
    CACHE_BITS, CACHE_BITS, ("", "-g32", "-g64"), ("", "-sinks4", "-sinks0"), ("", "-window128"))]  # fmt: skip
GENERATING = ["fp8-cache", *(f"quanto-cache-{b}bit{g}{w}" for b, g, w in product(
    (4, 2), ("", "-g64", "-g32"), ("", "-window128", "-window8")))]  # fmt: skip
JOINED = [f"{one}+{other}" for a, b in product(("w8-a8-static", "mxfp4", "nf4", "gptq"), (*CACHES, *GENERATING))
          for one, other in ((a, b), (b, a))]  # fmt: skip
NAMES = [w + dash + a + down for w in WEIGHTS for a in INPUTS for down in ("", "-down")
         for dash in (("-", "") if w and a else ("",)) if w or a]  # fmt: skip
NAMES += [name + down for name in BARE for down in ("", "-down")]
NAMES += [name + "-dynamic-down" for name in NAMES if name.endswith("-static")]


def test_every_name_has_one_canonical_spelling() -> None:
    assert len(NAMES) > 1000
    meanings: dict[str, Parsed] = {}
    for name in [*NAMES, *CACHES, *GENERATING, *JOINED, *EXAMPLES]:
        found = parse(name)
        assert found is not None, name
        again = parse(found.name)
        assert again == found, name
        assert again.name == found.name == canonical(name)
        assert meanings.setdefault(found.name, found) == found
    assert len(set(meanings.values())) == len(meanings)  # two spellings of one meaning would be two names


def test_canonical_spellings() -> None:
    expected = {
        "w8-a8-static": "w8a8-static",
        "w4g64a8-dynamic": "w4g64-a8-dynamic",
        "w4-asym-a8-static-down": "w4-asym-a8-static-down",
        "w-mxfp4-a-mxfp4": "mxfp4",
        "w-mxfp4a-mxfp4e2m1-down": "mxfp4-down",
        "w-fp8-a-fp8-dynamic": "fp8",
        "w-fp8-tensor-a-fp8-static": "fp8-tensor-static",
        "fp8e4m3": "fp8",
        "w-nvfp4-a-fp8": "w-nvfp4-a-fp8",
        "nvfp4-static": "nvfp4",
        "w8-a8-static-dynamic-down": "w8a8-static-dynamic-down",
        "w-nvfp4-a-nvfp4-static-dynamic-down": "nvfp4-static-dynamic-down",
        "w-nvfp4-a-nvfp4-dynamic-down": "nvfp4-dynamic-down",
        "w4a-fp8": "w4-a-fp8",
        "cache-k4v4-g32-sinks0": "cache-k4v4",
        "cache-k4v4-g32+w8-a8-static": "w8a8-static+cache-k4v4",
        "nf4+quanto-cache-4bit-g64-window128": "nf4+quanto-cache-4bit",
        "nf4": "nf4",
    }
    assert {name: canonical(name) for name in expected} == expected


def test_meanings() -> None:
    int8, token, channel = Integer(8), Scope.TOKEN, Scope.CHANNEL
    static = Side(int8, Scope.TENSOR, calibrated=True)
    assert parse("w8a8-static-down") == Rounding(Side(int8, channel), static, down=True)
    assert parse("w8a8-static-dynamic-down") == Rounding(Side(int8, channel), static, mixed=True)
    assert parse("w8a8-dynamic") == Rounding(Side(int8, channel), Side(int8, token))
    assert parse("w4g128-asym") == Rounding(Side(Integer(4, asymmetric=True), channel, block=128), None)
    mx = (E2M1, token, Scales.POWER, 32)
    assert parse("mxfp4") == Rounding(Side(E2M1, channel, *mx[2:]), Side(*mx))
    nv = Side(E2M1, Scope.TENSOR, Scales.E4M3, 16)
    assert parse("w-nvfp4-a-fp8") == Rounding(nv, Side(E4M3, token))
    assert parse("nvfp4") == Rounding(nv, Side(E2M1, Scope.TENSOR, Scales.E4M3, 16, calibrated=True))
    assert parse("a-nvfp4-dynamic") == Rounding(None, Side(E2M1, token, Scales.E4M3, 16))
    assert parse("cache-k2v4-g64-sinks4-window128") == CacheRounding(2, 4, 64, 4, 128)
    assert parse("quanto-cache-2bit-g32") == GeneratingCache("quanto", 2, 32, 128)
    assert parse("cache-k4v4+mxfp4") == Joined("mxfp4", CacheRounding(4, 4))
    assert split("mxfp4+fp8-cache") == ("mxfp4", GeneratingCache("fp8", 8))
    assert split("cache-k4v4") == (NONE, CacheRounding(4, 4))
    assert split("nf4") == ("nf4", None)


@pytest.mark.parametrize(
    "name",
    ["", "-", "w", "w9", "w1a8-dynamic", "a8", "w8a8", "w8-dynamic", "w8a8-static-up", "w8-", "-a8-static", "w8--down",
     "-down", "w4g0", "w4g032", "mxfp5", "mxfp4-static", "nvfp4-tensor", "w-mxfp4-tensor", "a-mxfp4-dynamic", "w-",
     "w-a", "w4-asym-asym", "W8", "w8a8-static ", "w8\n", "cache-k3v4", "cache-k4", "cache-k4v4-window128-sinks4",
     "cache-k4v4-sinks04", "quanto-cache-3bit", "quanto-cache-4bit-window0", "fp8-cache-g32", "w8+a8-static",
     "cache-k4v4+cache-k2v2", "w8+cache-k4v4+fp8-cache", "w8+", "+cache-k4v4", "none+cache-k4v4", "w8 + cache-k4v4",
     "w٤", "w8a8-static-down-down", "w8-dynamic-down", "w8a8-dynamic-dynamic-down", "mxfp4-dynamic-down",
     "w8a8-static-dynamic", "w8a8-static-dynamic-down-down"],
)  # fmt: skip
def test_what_is_no_name(name: str) -> None:
    assert parse(name) is None
    with pytest.raises(RequestError) as caught:
        check_method(name, "methods")
    message = str(caught.value)
    assert "`methods`" in message
    assert all(part in message for part in ("w4g128 (groups", "2 to 8 bits", "w-nvfp4-a-fp8", "-down", *FORMATS))


@pytest.mark.parametrize(
    ("name", "near"),
    [("mxfp5", "mxfp4|mxfp8|mxfp6"), ("w4g", "w4g.*"), ("nvfp-4", "nvfp4"), ("MXFP4", "mxfp4"), ("nf", "nf4"),
     ("w8a8-statc", "w8a8-static"), ("w-nvfp4-a-pf8", "w-nvfp4-a-fp8"), ("cache-k4", "cache-k4v[248]"), ("awk", "awq")],
)  # fmt: skip
def test_the_nearest_name_is_told(name: str, near: str) -> None:
    with pytest.raises(RequestError) as caught:
        method_of(name)
    found = re.search(r"the nearest is (\S+);", str(caught.value))
    assert found is not None
    assert re.fullmatch(near, found[1])


def test_what_a_plus_joins_is_told() -> None:
    for name in ("w8+w4", "cache-k4v4+cache-k2v2", "w8a8-static+cache"):
        with pytest.raises(RequestError, match=r"; a \+ joins one method of linear maps and one cache, as w8a8-static"):
            check_method(name, "methods")


def test_a_cache_of_generation_is_refused_where_nothing_is_generated() -> None:
    check_method("quanto-cache-4bit", "quantize")
    with pytest.raises(RequestError, match=r"quanto-cache-4bit rounds the cache of generation alone.* as `quantize`"):
        check_method("quanto-cache-4bit", "methods")


def test_nothing_is_near_to_what_is_far() -> None:
    with pytest.raises(RequestError, match="there is no method zzzzzzzz for `methods`; there are"):
        check_method("zzzzzzzz", "methods")


def test_names_of_libraries() -> None:
    assert set(LIBRARY_METHODS) == LIBRARY.keys()
    for name in (*LIBRARY_METHODS, NONE):
        assert parse(name) is None
        check_method(name, "methods")


def test_methods_are_chosen_by_their_canonical_names() -> None:
    chosen = choose(["w-mxfp4-a-mxfp4", "mxfp4", "w8-a8-static"])
    assert chosen.order == [NONE, "mxfp4", "w8a8-static"]
    assert list(chosen.probes) == chosen.order[1:]


def test_names_are_understood_without_torch() -> None:
    code = "import sys; from sinkscope.methods.grammar import parse; assert parse('w8') and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
