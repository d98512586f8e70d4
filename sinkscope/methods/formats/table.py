"""Number formats, one row each. A new format is an entry here; names, rounding, documentation and tests follow.

An element of E exponent bits, M mantissa bits and bias b stands for

    (-1)^s 2^(e - b) (1 + m / 2^M)   for e > 0,        (-1)^s 2^(1 - b) m / 2^M   for e = 0 (subnormal)

and its largest finite value is told, because formats differ in which codes they give to infinity and NaN. Elements of a
block share a scale. What a scale is, and how it is found, is the format's `scales`:

    FLOAT32   largest |x| / largest element, in float32
    POWER     2^(floor(log2 largest |x|) - floor(log2 largest element)), at least 2^-127: E8M0 of OCP MX v1.0
    E4M3      (largest |x| of the block / largest element) / t rounded to E4M3, times t, where
              t = largest |x| of the tensor / (largest element * 448) in float32: NVFP4
"""

from dataclasses import dataclass
from enum import StrEnum
from math import floor, log2


@dataclass(frozen=True)
class Element:
    """A floating-point number of few bits.

    Attributes:
        name: as `e4m3`.
        exponent: bits of the exponent.
        mantissa: bits of the mantissa.
        bias: of the exponent.
        largest: the largest finite value.
    """

    name: str
    exponent: int
    mantissa: int
    bias: int
    largest: float

    @property
    def bits(self) -> int:
        """Bits of a value, its sign included."""
        return 1 + self.exponent + self.mantissa

    @property
    def highest(self) -> int:
        """The exponent of the largest value: floor(log2 largest)."""
        return floor(log2(self.largest))

    @property
    def lowest(self) -> int:
        """The exponent of the smallest normal value; below it steps are even."""
        return 1 - self.bias

    @property
    def clamped_from(self) -> float:
        """Beyond this |x| a value is clamped rather than rounded: half a step above the largest."""
        return float(self.largest + 2.0 ** (self.highest - self.mantissa - 1))


E4M3 = Element("e4m3", 4, 3, 7, 448.0)  # the variant without infinity: S.1111.111 is NaN
E5M2 = Element("e5m2", 5, 2, 15, 57344.0)
E2M3 = Element("e2m3", 2, 3, 1, 7.5)
E3M2 = Element("e3m2", 3, 2, 3, 28.0)
E2M1 = Element("e2m1", 2, 1, 1, 6.0)


@dataclass(frozen=True)
class Integer:
    """Whole numbers: -n .. n with n = 2^(bits-1) - 1, or 0 .. 2^bits - 1 less a zero point where asymmetric.

    Symmetric ones never use the code -2^(bits-1), so that the negative of a value has the negative code.
    """

    bits: int
    asymmetric: bool = False

    @property
    def largest(self) -> int:
        """The largest code."""
        return int(2**self.bits - 1) if self.asymmetric else int(2 ** (self.bits - 1) - 1)


class Scales(StrEnum):
    """What scales are kept in."""

    FLOAT32 = "float32"
    POWER = "E8M0"
    E4M3 = "E4M3 under one float32"


@dataclass(frozen=True)
class Format:
    """A named format of linear maps.

    Attributes:
        name: as users write it, without a dash.
        element: of its values.
        scales: of its blocks.
        block: values along the inputs that share a scale; None for one scale per output channel, token or tensor.
        static: whether inputs are scaled by calibration unless a name says `dynamic`; None where blocks need neither.
    """

    name: str
    element: Element
    scales: Scales = Scales.FLOAT32
    block: int | None = None
    static: bool | None = None


FORMATS = {
    row.name: row
    for row in (
        Format("fp8", E4M3, static=False),
        Format("fp8e5m2", E5M2, static=False),
        Format("mxfp8", E4M3, Scales.POWER, 32),
        Format("mxfp8e5m2", E5M2, Scales.POWER, 32),
        Format("mxfp6", E2M3, Scales.POWER, 32),
        Format("mxfp6e3m2", E3M2, Scales.POWER, 32),
        Format("mxfp4", E2M1, Scales.POWER, 32),
        Format("nvfp4", E2M1, Scales.E4M3, 16, static=True),
    )
}
ALIASES = {"fp8e4m3": "fp8", "mxfp8e4m3": "mxfp8", "mxfp6e2m3": "mxfp6", "mxfp4e2m1": "mxfp4"}
"""Longer spellings, by which a format's element is named."""
