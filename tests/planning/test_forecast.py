"""The one line that a plan is."""

from sinkscope.cli.flags import with_flags
from sinkscope.planning.forecast import DRAWING, Forecast

GIB = 2**30


def test_a_short_plan() -> None:
    plan = Forecast("2 sequences of 512 tokens", {"sequence": 20.0, DRAWING: 8.0}, trial=1.0, rate=51.2,
                    driver="resident", memory=(GIB, 8 * GIB))  # fmt: skip
    assert plan.line() == (
        "plan: resident, 1 GiB of 8 GiB free memory; 2 sequences of 512 tokens: about 28 s (8 s of it to draw)"
    )


def test_a_long_plan_says_what_would_be_short() -> None:
    short = ({"sequences": 4, "tokens": 512}, 170.0)
    plan = Forecast("32 sequences of 2048 tokens", {"sequence": 9000.0, DRAWING: 8.0}, trial=1.0, rate=7.0,
                    driver="streamed", shorter=short)  # fmt: skip
    assert with_flags(plan.line()) == (
        "plan: streamed; 32 sequences of 2048 tokens: about 2.5 h; --sequences 4 --tokens 512: about 2.8 min"
    )


def test_a_budget_is_named() -> None:
    plan = Forecast("9 sequences of 512 tokens", {"sequence": 90.0}, trial=1.0, rate=51.2, budget="2m",
                    chosen={"sequences": 9})  # fmt: skip
    assert plan.line() == "plan: 9 sequences of 512 tokens: about 1.5 min; chosen for `budget=2m`"
    assert plan.as_json() == {
        "seconds": 90.0,
        "stages": {"sequence": 90.0},
        "trial_seconds": 1.0,
        "tokens_per_second": 51.2,
        "memory_bytes": None,
        "free_bytes": None,
        "budget": "2m",
        "chosen": {"sequences": 9},
    }
