"""Number formats the slow and obvious way: all values from the bits, the nearest by exact fractions, one at a time.

Written from the published layouts, without the package's code or tables.
"""

import math
from fractions import Fraction
from functools import cache

from slow_rounding import f32, half_even

# Format: exponent bits, mantissa bits, bias, codes at the top that are no numbers (of the positive half).
LAYOUTS = {
    "e4m3": (4, 3, 7, 1),  # OFP8 E4M3: S.1111.111 is NaN, there is no infinity
    "e5m2": (5, 2, 15, 4),  # OFP8 E5M2: S.11111.00 is infinity, .01 to .11 NaN
    "e2m3": (2, 3, 1, 0),
    "e3m2": (3, 2, 3, 0),
    "e2m1": (2, 1, 1, 0),
}
FORMATS = {"mxfp8": "e4m3", "mxfp8e5m2": "e5m2", "mxfp6": "e2m3", "mxfp6e3m2": "e3m2", "mxfp4": "e2m1"}


@cache
def values(layout: str) -> tuple[Fraction, ...]:
    """All values that are not negative, by code."""
    e_bits, m_bits, bias, no_numbers = LAYOUTS[layout]
    found = []
    for code in range(2 ** (e_bits + m_bits) - no_numbers):
        e, m = code >> m_bits, code & (2**m_bits - 1)
        if e == 0:
            found.append(Fraction(m, 2**m_bits) * Fraction(2) ** (1 - bias))
        else:
            found.append((1 + Fraction(m, 2**m_bits)) * Fraction(2) ** (e - bias))
    return tuple(found)


def nearest(x: float, layout: str) -> float:
    """The nearest value, the even code where two are as near, the largest beyond it; NaN stays."""
    if math.isnan(x):
        return x
    if math.isinf(x):
        return math.copysign(float(values(layout)[-1]), x)
    magnitude = abs(Fraction(x))
    distances = [abs(value - magnitude) for value in values(layout)]
    best = min(distances)
    codes = [code for code, distance in enumerate(distances) if distance == best]
    even = [code for code in codes if code % 2 == 0] or codes
    return math.copysign(float(values(layout)[even[0]]), x)


def scaled(x: float, scale: float, layout: str) -> float:
    """X rounded under a float32 scale, every operation in float32."""
    return 0.0 if scale == 0 else f32(nearest(f32(x / scale), layout) * scale)


def absmax(row: list[float]) -> float:
    """The largest |x|; NaN where something is not finite."""
    return math.nan if not all(map(math.isfinite, row)) else max(map(abs, row))


def float_row(row: list[float], largest: float, layout: str) -> list[float]:
    """Values under one float32 scale, largest / the format's largest."""
    scale = f32(largest / float(values(layout)[-1]))
    return [scaled(x, scale, layout) for x in row]


def mx_block(block: list[float], layout: str) -> list[float]:
    """A block under an E8M0 scale as OCP MX v1.0, section 6.3 has it."""
    largest = absmax(block)
    if math.isnan(largest):
        return [math.nan] * len(block)
    if largest == 0:
        return [0.0] * len(block)
    shared = max(_log2(Fraction(largest)) - _log2(values(layout)[-1]), -127)
    scale = Fraction(2) ** shared
    return [float(Fraction(nearest(float(Fraction(x) / scale), layout)) * scale) for x in block]


def nvfp4_block(block: list[float], of_tensor: float) -> list[float]:
    """A block under an E4M3 scale, which stands under a float32 one, largest of the tensor / (6 * 448)."""
    above = f32(of_tensor / f32(6.0 * 448.0))
    largest = absmax(block)
    if math.isnan(largest) or math.isnan(above):
        return [math.nan] * len(block)
    share = 0.0 if above == 0 else f32(f32(largest / 6.0) / above)
    code = max(nearest(share, "e4m3"), 2.0**-9) if share > 0 else 0.0
    return [scaled(x, f32(code * above), "e2m1") for x in block]


def asymmetric_row(row: list[float], bits: int) -> list[float]:
    """Integer codes from 0 with a zero point."""
    most = 2**bits - 1
    low, high = min(*row, 0.0), max(*row, 0.0)
    scale = f32(f32(high - low) / most)
    if scale == 0:
        return [0.0] * len(row)
    zero = max(0, min(most, half_even(Fraction(f32(-low / scale)))))
    codes = [max(0, min(most, half_even(Fraction(f32(x / scale))) + zero)) for x in row]
    return [f32((code - zero) * scale) for code in codes]


def _log2(x: Fraction) -> int:
    """floor(log2 x), exactly."""
    power = 0
    while Fraction(2) ** power > x:
        power -= 1
    while Fraction(2) ** (power + 1) <= x:
        power += 1
    return power
