"""How one side of a linear map is rounded: its weights, or its inputs."""

from dataclasses import dataclass
from enum import StrEnum

from sinkscope.methods.formats.table import Element, Integer, Scales


class Scope(StrEnum):
    """What shares a scale, or in NVFP4 the float32 scale above those of blocks."""

    CHANNEL = "channel"
    TOKEN = "token"  # noqa: S105  (of text)
    TENSOR = "tensor"


@dataclass(frozen=True)
class Side:
    """How weights, or inputs, are rounded.

    Attributes:
        element: what values there are.
        scope: what shares a scale where there are no blocks.
        scales: what scales are kept in.
        block: values along the inputs of the map that share a scale; None leaves it to `scope`.
        calibrated: whether the scale of the tensor comes from a calibration.
    """

    element: Element | Integer
    scope: Scope
    scales: Scales = Scales.FLOAT32
    block: int | None = None
    calibrated: bool = False

    @property
    def bits(self) -> int:
        """Bits of a value, without its share of scales."""
        return self.element.bits

    @property
    def words(self) -> str:
        """What shares a scale, in words: `per token`, or `E2M1 in blocks of 32, scales E8M0`."""
        kind = f"{self.element.name.upper()} " if isinstance(self.element, Element) else ""
        asymmetric = isinstance(self.element, Integer) and self.element.asymmetric
        tail = ", asymmetric" if asymmetric else ""
        if self.block is None:
            return f"{kind}per {self.scope}{tail}"
        if isinstance(self.element, Integer):
            return f"in groups of {self.block}{tail}"
        above = f" per {self.scope}" if self.scales is Scales.E4M3 else ""
        return f"{kind}in blocks of {self.block}, scales {self.scales}{above}"
