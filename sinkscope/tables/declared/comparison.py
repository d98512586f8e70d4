"""The tables of a comparison: the verdicts, and what its figures need of every compared run."""

from sinkscope.quantities.rows import beside_the_headline, compared
from sinkscope.tables.column import Column, Table, floats, ints, texts

_RUN = texts("run", "name of the run in the comparison")
_SEED = ints("seed", "number of the run among those of one name, which differ by their training seed")
_LAYER = ints("layer", "decoder layer")
_KV_HEAD = ints("kv_head", "key/value head")


def _zero_and_early(site: str, what: str) -> tuple[Column, Column]:
    return (
        floats(f"{site}_t0", f"l2 norm of {what} at position 0, mean over sequences, equation (3)"),
        floats(f"{site}_early", "the same, mean over positions 1 to 15"),
    )


TABLES = (
    Table(
        "comparison",
        "A metric and a run, against the first run, the reference; docs/comparison.md has the definitions.",
        (
            texts("metric", f"a headline number, or {beside_the_headline(compared())}"),
            _RUN,
            floats("value", "as measured; mean over the runs of one name"),
            floats("low", "lower end of the value's 95 % interval; null where it has none"),
            floats("high", "upper end"),
            floats("ratio", "value over that of the reference; null where no ratio is formed"),
            floats("ratio_low", "lower end of the ratio's 95 % interval; null where it has none"),
            floats("ratio_high", "upper end"),
            floats(
                "seeds_needed",
                "smallest number of seeds per name whose interval would leave out 1 in four of five repetitions, were "
                "all else as measured; null from one run each, and where 1000 would not do",
                added=True,
            ),
            texts(
                "verdict",
                "reference, suppressed, grown, lower or higher (size unclear), better or worse (size unclear too), "
                "unchanged, unclear, no interval, not judged or not measured",
            ),
        ),
    ),
    Table(
        "compared_layers",
        "A layer of a compared run.",
        (
            _RUN,
            _SEED,
            _LAYER,
            floats("depth", "layer / (layers - 1); 0 in a model of one layer"),
            floats("sink_rate", "as in layers"),
            floats("gradient_sink_ratio", "as in layers"),
            *_zero_and_early("h_out", "the residual stream"),
            *_zero_and_early("r_mlp", "the MLP output"),
            *_zero_and_early("r_attn", "the attention output"),
            *_zero_and_early("v", "the raw values, mean over kv heads"),
            *_zero_and_early("v_scaled", "the values as attention sees them, mean over kv heads"),
        ),
    ),
    Table(
        "compared_branches",
        "A layer, branch and position 0 to 15 of a compared run; equation (8).",
        (
            _RUN,
            _SEED,
            _LAYER,
            texts("branch", "attn or mlp"),
            ints("position", "token position in its sequence"),
            floats("input_norm", "as in branches"),
            floats("bloat", "as in branches"),
            floats("change", "as in branches"),
            floats("compress", "as in branches"),
        ),
    ),
    Table(
        "compared_vscale",
        "A layer and a key/value head of a compared run with V-scale.",
        (
            _RUN,
            _SEED,
            _LAYER,
            _KV_HEAD,
            floats("theta", "learned exponent, equation (15)"),
            floats("C", "threshold on |v|^2, equation (15)"),
        ),
    ),
    Table(
        "compared_quantization",
        "A quantization run, a model and a method without a mitigation, where quantization runs were given too.",
        (
            texts("run", "name of the quantization run"),
            texts("model", "as in quantization"),
            texts("method", "as in quantization"),
            floats("loss", "mean cross-entropy of the next token", "nats per token"),
            floats("perplexity", "exponential of the loss"),
            floats("delta", "loss minus that of the unquantized model on the same windows", "nats per token"),
            floats("delta_low", "lower end of its 95 % interval", "nats per token"),
            floats("delta_high", "upper end", "nats per token"),
        ),
    ),
    Table(
        "training_losses",
        "A run and a number of optimizer steps, where the comparison is that of a finetuning.",
        (
            _RUN,
            ints("step", "optimizer steps that the model had behind it"),
            floats("loss", "on the batch of the next step; null after the last", "nats per token"),
            floats(
                "valid_loss",
                "on the held-out windows; at step 0 before training, with V-scale right after it was attached; null "
                "where it was not measured",
                "nats per token",
            ),
        ),
    ),
)
