"""The tables of an evaluation."""

from sinkscope.tables.column import Column, Table, floats, ints, texts

_VARIANT = texts("variant", "single_2, single_3 or multikey_1, after RULER's tasks of these names")
_LENGTH = ints("length", "context length, prompt and answer together", "tokens")

TABLES = (
    Table(
        "perplexity",
        "A normalization of the text's negative log-likelihood.",
        (
            texts(
                "metric",
                "loss (nats per token), perplexity (per token), word_perplexity, byte_perplexity or bits_per_byte",
            ),
            floats("value", "over all documents together"),
            floats("low", "lower end of the 95 % bootstrap interval; null with fewer than three units"),
            floats("high", "upper end"),
            texts("drawn", "the units that the bootstrap draws: documents, or windows where there are fewer than 10"),
        ),
    ),
    Table(
        "documents",
        "A document whose perplexity was measured.",
        (
            ints("document", "number in the run"),
            texts("name", "name in its source"),
            ints("tokens", "tokens scored, all of the document's"),
            ints("words", "whitespace-separated words"),
            ints("bytes", "length in UTF-8", "bytes"),
            floats("nll", "negative log-likelihood of the document", "nats"),
        ),
    ),
    Table(
        "contexts",
        "A length of context.",
        (
            ints("context", "tokens that the model read before the one that is scored, the prefix included", "tokens"),
            ints("targets", "tokens scored behind this much context"),
            floats("loss", "their mean loss", "nats"),
            floats("deviation", "standard deviation of their losses", "nats"),
        ),
    ),
    Table(
        "needles",
        "A needle that the model was asked for.",
        (
            _VARIANT,
            _LENGTH,
            floats("depth", "place in the haystack that was asked for, 0 for its start and 1 for its end"),
            ints("seed", "seed of keys, values, haystack and distractors"),
            Column("found", "bool", "", "the generated text contains the value, whatever its case"),
            texts("key", "the needle's key"),
            texts("expected", "the needle's value"),
            texts("generated", "what the model wrote, greedily"),
            ints("position", "where the needle's sentence starts in the prompt", "tokens"),
            ints("prompt", "length of the prompt", "tokens"),
        ),
    ),
    Table(
        "needle_scores",
        "A kind of needle and a context length, over all depths and seeds.",
        (
            _VARIANT,
            _LENGTH,
            ints("needles", "needles asked for"),
            floats("score", "share of them that was found"),
            floats("low", "lower end of Wilson's 95 % interval"),
            floats("high", "upper end"),
        ),
    ),
    Table(
        "tasks",
        "A metric of a task of lm-evaluation-harness.",
        (
            texts("task", "the task's name"),
            texts("metric", "the metric's name"),
            texts("filter", "the harness's filter of the answers"),
            floats("value", "the metric"),
            floats("stderr", "its standard error as the harness gives it; null where it gives none"),
            Column("samples", "Int64", "", "samples that were evaluated"),
            Column("higher_is_better", "boolean", "", "whether a larger value is the better one"),
        ),
    ),
)
