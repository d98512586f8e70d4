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
on which the claim stands, and what would refute it. What was changed after a run is declared
[at the end](#changed-after-a-run). Equation numbers are those of [definitions.md](definitions.md).
This file is generated: `python -m sinkscope.reproduction.reference > docs/claims.md`.

## The rule

Every test has one number with a 95 % interval, and a bound that includes the margin.

- **reproduced**: the whole interval lies on the claimed side (of an equivalence: between both bounds).
- **not reproduced**: the whole interval lies on the other side (of an equivalence: outside of the bounds).
- **undecided**: the interval reaches over a bound, or there is none; then it is said with how many seeds four of five
  repetitions would decide it, were number and spread as measured (of 2 to 4 seeds: 71 to 76 %).
- **not testable**: the number cannot be had at this scale, or what the claim presupposes was itself not reproduced:
  without a massive activation none can be cut.

A claim is reproduced where all its tests are, and not reproduced where one of them is not; else it is undecided where
one of them is, and not testable where one of them is that.

**The interval.** Trainings that differ by seed are the units: Student's t of their numbers, on the logarithm for
ratios of positive numbers, except of sink rates, which can be 0 and are taken as they are. The models of one seed
share their initialization and their batches, so what sets two of them against each other is formed pair by pair. What
other text would change is added: all seeds are measured on the same sequences, so it is the variance of their mean
under common bootstrap draws, or over sequences. It is multiplied by the t of the seeds too, which errs on the wide side
([coverage](intervals.md)). Where a draw leaves the number undefined there is no interval. From one training,
and of a public model, the interval is over what the table names: sequences (of a gradient-sink ratio: blocks of them,
where there are many), or the layers of the model where
gradients are summed over all sequences before a norm is taken (layers of one model depend on each other, so that such
an interval is a rough one). A share that is 0 or 1 in every seed, or in every sequence of one model, has Wilson's
interval for as many of these. No interval from one training says what another would show.

**Their number.** No interval is widened for the number of tests: of twenty tests whose number lies right on its bound,
about one gets a verdict by chance.

**The bounds.** A ratio is large from 2 on, as a track has it; the same is within 1/1.25 to 1.25, as in a comparison; a
perplexity is unharmed within 1.05. One half decides both what V-scale keeps and what it cuts. The paper's own numbers
lie on the claimed side of every bound for which it prints one. The bounds follow from these numbers and from the
margins that this project has elsewhere. What rounding can leave of dL/dq_0 is derived
[below](#what-rounding-leaves-of-dldq_0).
"""

_FOOTER = """
## What rounding leaves of dL/dq_0

Under a causal softmax the first row has one weight, 1, and y_0 = v_0. By equation (10) a query head gets

    dL/dq_0 = c (<g_0, v_0> - <g_0, y_0>) k_0,   g_0 = dL/dy_0

the difference of two equal inner products of d numbers, d the channels of a value head. A fused kernel forms both in
floating point of unit roundoff u, 2^-24 in float32. In whatever order it adds, each is off by at most d u |g_0| |v_0|
to first order, plus two roundings by which y_0 may differ from v_0. So what is computed has at most the norm

    2 (d + 2) u c |g_0| |v_0| |k_0|

and so has a layer, with the norms of all heads together. The attention scale c is at most 1, and left out. Over several
sequences, |k_0| and |v_0| are the largest of one sequence and |g_0| is the norm of the sum, as |dL/dq_0| is: that is an
estimate and no bound any more. Where the gradients of sequences cancel and their roundings do not, an identity that
holds can fail the test; one that does not hold cannot pass it so. The test
holds |dL/dq_0| to this, layer by layer. It is tested in float32 alone: 16-bit roundings are so coarse that the
bound would say nothing. With a learned sink the first row has two weights, and there is nothing to test.

The bound is wide, and far below what it must tell apart: on the demo and on SmolLM2-135M it is about 3,000 times what
rounding leaves of random tokens, and without the causal mask the same gradient is about 400 times the bound.

## Changed after a run

- `first-query` was first held to 1e-6 of the largest |dL/dq_t| of the early positions, and changed after the first run
  on SmolLM2-135M, which gave 2.5e-6 and "not reproduced". Computed again in float64 the same ratio is 4e-15: it is
  rounding. As a share of c |g_0| |v_0| |k_0|, the terms that cancel, it is 0.7 units of roundoff in float32 and 0.8 in
  float64 (demo: 0.5 and 0.5). The gradient at other queries has no part in these terms, so a bound that is set by it
  says nothing. The bound above was derived before any other model was looked at.
- The recipe mini was replaced after its first trio had been measured, three seeds of another shape. With that one
  V-scale had 2.4 times (1.27 to 4.64) as many sinks as the baseline, against the paper's 0.81; they were few in both.
  The one that took its place was [chosen](../reports/reproduction/README.md#how-the-recipe-was-chosen) by the sink
  rate of the baseline of seed 0, before any twin was trained; seed 0 is among the five that are judged.
- Since the runs of 2026-11-26, three changes of the rule. What other text would change is also added to numbers of
  INT8 over several seeds; before, it was left out of them. Where it is undefined there is no interval; before, it
  counted as none. The number of seeds that would be needed is that of four repetitions in five; before, it was that of
  one in two. The reports were made anew; these changes alone
  changed no verdict.
"""


def claims_markdown() -> str:
    """All claims in markdown."""
    return "\n".join([_HEADER, *map(_section, CLAIMS), _FOOTER.lstrip("\n")])


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
