"""The tables of an ablation."""

from sinkscope.tables.column import Table, floats, ints, texts

_WHAT = texts("what", "intervention, by its name on the command line; `none` is the untouched model")
_WHERE = texts("where", "layers, kind of positions, or what happened to the text")
_NATS = "nats per token"

TABLES = (
    Table(
        "ablations",
        "An intervention, or the untouched model; losses are over all tokens that can be compared with the untouched "
        "model's.",
        (
            _WHAT,
            _WHERE,
            floats("size", "how much is taken away; of massive entries, the mean over sequences"),
            texts("unit", "what the size counts"),
            floats("loss", "mean cross-entropy of the next token", _NATS),
            floats("loss_low", "lower end of its 95 % interval: bootstrap over sequences", _NATS),
            floats("loss_high", "upper end", _NATS),
            floats("control_mean", "the same, mean over the draws of the control", _NATS),
            floats("control_low", "lower end of its 95 % interval, over sequences and draws", _NATS),
            floats("control_high", "upper end", _NATS),
            floats(
                "kl", "Kullback-Leibler divergence of the next-token distribution from the untouched model's", _NATS
            ),
            floats("sink_rate", "share of heads that are sinks at token 0, mean over layers, equation (1)"),
            floats("gradient_sink_ratio", "R_GS at position 0, equation (6), median over layers"),
            texts("verdict", "of the perplexity against the untouched model's, by the rules of `compare`"),
            floats("perplexity", "exponential of the loss"),
            floats("change", "loss minus that of the untouched model on the same tokens", _NATS),
            floats("change_low", "lower end of its 95 % interval: paired bootstrap over sequences", _NATS),
            floats("change_high", "upper end", _NATS),
            ints("draws", "draws of the control; 0 where there is none"),
            floats("control_change", "mean change of the loss over the draws of the control", _NATS),
            floats("control_change_low", "lower end of its 95 % interval, over sequences and draws", _NATS),
            floats("control_change_high", "upper end", _NATS),
            floats("control_kl", "mean divergence over the draws of the control", _NATS),
            floats("excess", "change minus that of the control", _NATS),
            floats("excess_low", "lower end of its 95 % interval, paired over sequences, and over draws", _NATS),
            floats("excess_high", "upper end", _NATS),
            texts("control_verdict", "of the perplexity against the control's, by the same rules"),
        ),
    ),
    Table(
        "super_weights",
        "A weight of a down projection between a spike that it reads and one that it writes, or a published one.",
        (
            ints("layer", "decoder layer"),
            ints("row", "output channel"),
            ints("column", "input channel"),
            floats("value", "the weight; null where it is stored packed, or published and not found"),
            ints(
                "position",
                "position of the token with the spikes, in the first sequence; -1 where none was found",
                least=-1,
            ),
            floats("entering", "the spike that the down projection reads"),
            floats("leaving", "the spike that it writes"),
            floats("share", "value * entering / leaving: how much of the written spike this weight makes by itself"),
            texts("source", "`found`, `published`, or `found, published`"),
        ),
    ),
    Table(
        "ablation_losses",
        "An intervention or a draw of its control, and a sequence: what intervals are made of.",
        (
            _WHAT,
            _WHERE,
            ints("draw", "draw of the control; -1 is the intervention itself", least=-1),
            ints("sequence", "sequence of the run"),
            floats("loss_sum", "cross-entropy summed over the compared tokens", "nats"),
            floats("exact_sum", "the same of the untouched model", "nats"),
            floats("kl_sum", "divergence summed over the compared tokens", "nats"),
            ints("targets", "number of compared tokens"),
        ),
    ),
    Table(
        "ablation_positions",
        "An intervention and a range of positions.",
        (
            _WHAT,
            _WHERE,
            ints("start", "first position of the predicted token"),
            ints("stop", "position behind the last"),
            floats("loss", "mean cross-entropy of the next token", _NATS),
            floats("loss_low", "lower end of its 95 % interval: bootstrap over sequences", _NATS),
            floats("loss_high", "upper end", _NATS),
            floats("perplexity", "exponential of the loss"),
            floats("change", "loss minus that of the untouched model on the same tokens", _NATS),
            floats("change_low", "lower end of its 95 % interval: paired bootstrap over sequences", _NATS),
            floats("change_high", "upper end", _NATS),
            floats("control_change", "mean change over the draws of the control", _NATS),
            floats("control_change_low", "lower end of its 95 % interval, over sequences and draws", _NATS),
            floats("control_change_high", "upper end", _NATS),
        ),
    ),
    Table(
        "ablation_quantities",
        "An intervention and a headline quantity of `analyze`, measured again under it on the first sequences.",
        (
            _WHAT,
            _WHERE,
            texts("quantity", "name, as docs/quantities.md explains it"),
            floats("value", "under the intervention"),
            floats("control", "under the first draw of its control"),
        ),
    ),
    Table(
        "ablation_needles",
        "An intervention, asked for needles in a haystack.",
        (
            _WHAT,
            _WHERE,
            ints("needles", "how many were asked for"),
            floats("score", "share that was found"),
            floats("low", "lower end of its 95 % interval, Wilson's"),
            floats("high", "upper end"),
            floats("control", "share that was found under the first draw of its control"),
        ),
    ),
)
