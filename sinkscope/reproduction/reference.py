"""The claims as documentation, printed from their declaration so that the two cannot disagree.

python -m sinkscope.reproduction.reference > docs/claims.md
"""

import sys

from sinkscope.quantities.reference import markdown_table
from sinkscope.reproduction.claim import Claim, Test
from sinkscope.reproduction.claims import CLAIMS

_HEADER = """\
# The claims, and what would refute them

What `sinkscope reproduce` tests of arXiv:2603.17771, fixed before its runs: each claim's numbers, the side of a bound
on which the claim stands, and what would refute it. Equation numbers are those of [definitions.md](definitions.md).
This file is generated: `python -m sinkscope.reproduction.reference > docs/claims.md`.

## The rule

Every test has one number with a 95 % interval, and a bound that includes the margin.

- **reproduced**: the whole interval lies on the claimed side (of an equivalence: between both bounds).
- **not reproduced**: the whole interval lies on the other side (of an equivalence: outside of the bounds).
- **undecided**: the interval reaches over a bound, or there is none; then it is said how many seeds would be needed,
  were ratio and spread as measured.
- **not testable**: the number cannot be had at this scale, or what the claim presupposes was itself not reproduced:
  without a massive activation none can be cut.

A claim is reproduced where all its tests are, and not reproduced where one of them is not; else it is undecided where
one of them is, and not testable where one of them is that.

**The interval.** Trainings that differ by seed are the units: Student's t of their numbers, on the logarithm for
ratios of positive numbers. The models of one seed share their initialization and their batches, so what sets two of
them against each other is formed pair by pair. What other text would change is added from bootstrap draws of the
sequences, where the number has any. From one training, and of a public model, the interval is over what the table
names: sequences, or the layers of the model where gradients are summed over all sequences before a norm is taken
(layers of one model depend on each other, so that such an interval is a rough one). A share that is 0 or 1 in every
seed, or in every sequence of one model, has Wilson's interval for as many of these. No interval from one training says
what another would show.

**Their number.** No interval is widened for the number of tests: of twenty tests whose number lies right on its bound,
about one gets a verdict by chance.

**The bounds.** A ratio is large from 2 on, as a track has it; the same is within 1/1.25 to 1.25, as in a comparison; a
perplexity is unharmed within 1.05. One half decides both what V-scale keeps and what it cuts. The paper's own numbers
lie on the claimed side of every bound for which it prints one. The bounds follow from these numbers and from the
margins that this project has elsewhere.
"""


def claims_markdown() -> str:
    """All claims in markdown."""
    return "\n".join([_HEADER, *map(_section, CLAIMS)])


def _section(claim: Claim) -> str:
    header = ("test", "claimed", "number", "of", "interval, one model", "refuted by", "presupposes", "paper")
    rows = [
        (
            f"`{test.name}`",
            test.says,
            test.number,
            ", ".join(test.models),
            _single(test),
            test.refuted_by,
            "-" if test.given is None else f"`{test.given}`",
            test.paper or "-",
        )
        for test in claim.tests
    ]
    return f"## {claim.number}. {claim.says}\n\n" + markdown_table(header, rows)


def _single(test: Test) -> str:
    return "none: an identity" if test.single == "exact" else f"over {test.single}"


if __name__ == "__main__":
    sys.stdout.write(claims_markdown())
