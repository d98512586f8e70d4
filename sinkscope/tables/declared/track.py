"""The tables of a track: one training run, checkpoint by checkpoint."""

from sinkscope.quantities.rows import beside_the_headline, tracked
from sinkscope.tables.column import Column, Table, floats, ints, texts

_STEP = ints("step", "optimizer steps done, from the checkpoint's name")


def _step_or_null(name: str, meaning: str) -> Column:
    return Column(name, "Int64", "", meaning)


TABLES = (
    Table(
        "track",
        "A checkpoint and a number over all its layers.",
        (
            _STEP,
            texts("metric", f"a headline number of an analysis, or {beside_the_headline(tracked())}"),
            floats("value", "its value; alpha_max: largest alpha_0 of a head, mean over sequences"),
            floats(
                "low",
                "lower end of its 95 % bootstrap interval over sequences (gradients: over blocks of sequences); null "
                "for maxima of entries, counts, and whatever else resampling sequences does not reach",
            ),
            floats("high", "upper end"),
        ),
    ),
    Table(
        "track_layers",
        "A checkpoint, a layer and a number.",
        (
            _STEP,
            ints("layer", "decoder layer"),
            texts(
                "metric",
                "sink_rate, alpha_max, gradient_sink_ratio, residual_t0, residual_t0_over_early, abs_max and "
                "abs_max_over_median (of h_out), value_drain, theta (mean over value heads)",
            ),
            floats("value", "its value"),
        ),
    ),
    Table(
        "track_pathways",
        "A checkpoint, a pathway and an early position; equation (7).",
        (
            _STEP,
            texts("site", "q, k or v"),
            ints("position", "token position in its sequence"),
            floats("grad_norm", "l2 norm of the batch-summed gradient, mean over layers", "nats per unit"),
        ),
    ),
    Table(
        "appearances",
        "A phenomenon and when it first appeared; checkpoints leave open where between two of them.",
        (
            texts("phenomenon", "its name"),
            texts("metric", "the number of the table `track` that it is read from"),
            floats("threshold", "from which value it is there; alpha_max must exceed it"),
            _step_or_null("first_step", "first checkpoint that shows it; null where none does"),
            _step_or_null("previous_step", "the checkpoint before: it appeared after this one; null where none is"),
            _step_or_null("lasting_step", "from this checkpoint on all show it; null where the last does not"),
            _step_or_null(
                "rank",
                "order of appearance; the same for all that appeared between the same checkpoints, null for what the "
                "first checkpoint had already",
            ),
        ),
    ),
)
