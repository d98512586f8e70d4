"""What a claim of the paper is made of, and the three models that claims are about."""

import math
from dataclasses import dataclass

from sinkscope.reproduction.rule import Direction, Scale

BASELINE, VSCALE, BACKWARD_ONLY = "baseline", "V-scale", "backward-only"
TRIO = (BASELINE, VSCALE, BACKWARD_ONLY)

ANALYSIS, QUANTIZATION = "analysis", "quantization"  # whose tables a test reads


@dataclass(frozen=True)
class Test:
    """One number, its bound, and on which side of it the claim stands.

    Attributes:
        name: in tables.
        says: what is claimed, bound and margin included.
        measure: the number, a key of `measures.MEASURES`.
        number: the same in words.
        models: whose number it is; the first is set against the second where there are two.
        direction: the claimed side.
        bounds: lower and upper; what the direction does not use is infinite.
        scale: on which it is compared.
        paper: the paper's number of it, as it prints it; empty where it prints none.
        needs: the tables that it reads.
        given: a test without which there is nothing to test: where that is not reproduced, this is not testable.
        single: of one training or one public model, what its interval is over.
        span: where the number can lie: an interval ends there.
    """

    name: str
    says: str
    measure: str
    number: str
    models: tuple[str, ...]
    direction: Direction
    bounds: tuple[float, float]
    scale: Scale
    paper: str = ""
    needs: str = ANALYSIS
    given: str | None = None
    single: str = "sequences"
    span: tuple[float, float] = (-math.inf, math.inf)

    __test__ = False  # pytest takes a class of this name for tests

    @property
    def trained(self) -> bool:
        """Whether it needs a model that was trained with V-scale."""
        return self.models != (BASELINE,)

    @property
    def refuted_by(self) -> str:
        """What would refute it, in words."""
        low, high = (f"{bound:.4g}" for bound in self.bounds)
        return {
            "above": f"the whole interval below {low}",
            "below": f"the whole interval above {high}",
            "within": f"the whole interval below {low}, or above {high}",
            "at most": f"a value above {high}",
        }[self.direction]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: it is reproduced where all its tests are, and not where one of them is not.

    Attributes:
        number: its place.
        says: the claim.
        tests: what it is held against.
    """

    number: int
    says: str
    tests: tuple[Test, ...]
