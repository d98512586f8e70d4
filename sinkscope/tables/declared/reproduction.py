"""The tables of a reproduction: claims and tests with their verdicts, and ours beside the paper's numbers.

Besides these it has the tables of a comparison of its models, which its figures are drawn from.
"""

from sinkscope.tables.column import Column, Table, floats, ints, texts

_VERDICT = "reproduced, not reproduced, undecided or not testable; docs/claims.md has the rule"

TABLES = (
    Table(
        "claims",
        "A claim of the paper.",
        (
            ints("claim", "its number in docs/claims.md", ""),
            texts("says", "the claim"),
            texts("verdict", f"from those of its tests: {_VERDICT}"),
            ints("tests", "its tests that were made"),
            ints("reproduced", "those of them that are reproduced"),
        ),
    ),
    Table(
        "tests",
        "A test of a claim: its number, its interval, the bound that was fixed before.",
        (
            ints("claim", "the claim's number"),
            texts("test", "its name in docs/claims.md"),
            texts("says", "what is claimed"),
            texts("number", "what the value is"),
            texts("models", "whose it is"),
            floats("value", "the number; over seeds their mean, geometric where logarithms are compared"),
            floats("low", "lower end of its 95 % interval; null where it has none"),
            floats("high", "upper end"),
            texts(
                "over", "what the interval is over: seeds, sequences, blocks of sequences, layers, or exact; else empty"
            ),
            ints("count", "how many of these"),
            texts("direction", "the claimed side: above, below, within, at most"),
            floats("lower_bound", "the bound of `above` and `within`; null where there is none"),
            floats("upper_bound", "the bound of `below`, `within` and `at most`; null where there is none"),
            texts("verdict", _VERDICT),
            floats(
                "seeds_needed",
                "where undecided: smallest number of seeds whose interval would leave out the bound in four of five "
                "repetitions, were all else as measured; null where that is not known or above 1000",
            ),
            texts(
                "reason",
                "why there is no number, interval or thing to test, or that the text alone hides the bound; else empty",
            ),
            texts("paper", "the paper's number of it; empty where it prints none"),
        ),
    ),
    Table(
        "seed_values",
        "A test and a training seed: the number that the interval over seeds is made of.",
        (
            texts("test", "its name"),
            ints("seed", "the training seed; 0 for a model that was not trained here"),
            floats("value", "its number; null where it has none"),
        ),
    ),
    Table(
        "beside_paper",
        "A number that the paper prints, of its model and of ours.",
        (
            texts("part", "trained models, or INT8"),
            texts("method", "none, or the quantization method"),
            texts(
                "metric",
                "a headline number, valid_loss (at the end of training), valid_loss_difference (the same less the "
                "baseline's, pair by pair), perplexity, document_perplexity (of evaluate, first seed), or a kind of "
                "needles",
            ),
            texts("model", "baseline, V-scale or backward-only"),
            floats("value", "ours; mean over seeds, geometric but of losses, differences and shares"),
            floats("low", "lower end of its 95 % interval over seeds; null from one"),
            floats("high", "upper end"),
            floats("paper", "the paper's; null where it prints none"),
            texts("paper_model", "the paper's model, as 0.3B"),
        ),
    ),
    Table(
        "trainings",
        "A training.",
        (
            texts("model", "baseline, V-scale or backward-only"),
            ints("seed", "the training seed"),
            floats("valid_loss", "the last that was measured; null where none was", "nats per token"),
        ),
    ),
    Table(
        "pathways",
        "A model, a seed, a pathway and an early position; equation (7).",
        (
            texts("model", "baseline, V-scale or backward-only"),
            ints("seed", "number of the training, from 0"),
            texts("site", "q, k or v"),
            ints("position", "token position in its sequence"),
            floats("grad_norm", "l2 norm of the batch-summed gradient, mean over layers", "nats per unit"),
        ),
    ),
    Table(
        "first_steps",
        "A phenomenon in a training of the first seed: at which checkpoint it is there.",
        (
            texts("model", "baseline, V-scale or backward-only"),
            texts("phenomenon", "as in appearances of a track"),
            Column("first_step", "Int64", "", "first checkpoint that shows it; null where none does"),
            Column("lasting_step", "Int64", "", "from which on all show it; null where the last does not"),
        ),
    ),
    Table(
        "tracked",
        "A number at a checkpoint of a training of the first seed, as in the table track.",
        (
            texts("model", "baseline, V-scale or backward-only"),
            ints("step", "optimizer steps taken"),
            texts("metric", "name of the number"),
            floats("value", "as measured"),
            floats("low", "lower end of its 95 % interval over sequences; null where it has none"),
            floats("high", "upper end"),
        ),
    ),
    Table(
        "stages",
        "A stage behind this report.",
        (
            texts("stage", "its folder beside the report's"),
            texts("command", "what makes the same by hand"),
        ),
    ),
)
