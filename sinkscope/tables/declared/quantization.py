"""The tables of a comparison of quantization methods."""

from sinkscope.tables.column import Table, floats, ints, texts

_MODEL = texts("model", "the model, as it was named")
_METHOD = texts("method", "quantization method; `none` is the model as it was loaded")
_PROBE = texts("method", "probe")
_LAYER = ints("layer", "decoder layer")
_SITE = texts("site", "path of the linear module inside its layer")
_MODULE = texts("module", "name of the linear module")
_LOSS = floats("loss", "mean cross-entropy of the next token over all targets", "nats per token")
_MITIGATION = texts("mitigation", "what was done about outliers before rounding; `none` is nothing", added=True)
_RANGE = (
    ints("start", "first position of the predicted token, in its window or its isolated document"),
    ints("stop", "position behind the last"),
)
_DELTA = (
    floats("delta", "loss minus that of the unquantized model on the same windows", "nats per token"),
    floats("delta_low", "lower end of its 95 % interval: paired bootstrap over sequences", "nats per token"),
    floats("delta_high", "upper end", "nats per token"),
)

TABLES = (
    Table(
        "quantization",
        "A model and a method.",
        (
            _MODEL,
            _METHOD,
            floats("weight_bits", "bits of a quantized weight; null where weights are not quantized"),
            floats("activation_bits", "bits of a quantized activation; null where activations are not quantized"),
            texts("granularity", "what shares a scale"),
            _LOSS,
            floats("loss_low", "lower end of its 95 % interval: bootstrap over sequences", "nats per token"),
            floats("loss_high", "upper end", "nats per token"),
            floats("perplexity", "exponential of the loss"),
            *_DELTA,
            texts("windows", "first digits of the SHA-256 of the token ids: perplexities compare only where it agrees"),
            _MITIGATION,
            texts(
                "mitigation_chose",
                "what the mitigation chose: alpha, prefix, matrices, modules; else empty",
                added=True,
            ),
            floats(
                "against_unmitigated",
                "loss minus that of the same method without a mitigation; null without a mitigation",
                "nats per token",
                added=True,
            ),
            floats(
                "against_unmitigated_low",
                "lower end of its 95 % interval: paired bootstrap over sequences",
                "nats per token",
                added=True,
            ),
            floats("against_unmitigated_high", "upper end", "nats per token", added=True),
        ),
    ),
    Table(
        "paired",
        "Two changes of the loss against each other, on the same windows: two methods on one model, or one method on "
        "two models that read the same windows, or two mitigations of one method. Of two models under `none`, their "
        "losses.",
        (
            _MODEL,
            _METHOD,
            texts("other_model", "the model of the other change"),
            texts("other_method", "the method of the other change"),
            floats("difference", "delta minus the other one; under `none`, loss minus the other", "nats per token"),
            floats(
                "difference_low", "lower end of its 95 % interval: paired bootstrap over sequences", "nats per token"
            ),
            floats("difference_high", "upper end", "nats per token"),
            _MITIGATION,
            texts("other_mitigation", "the mitigation of the other change", added=True),
        ),
    ),
    Table(
        "losses",
        "A model, a method and a sequence: what intervals are made of.",
        (
            _MODEL,
            _METHOD,
            ints("sequence", "sequence of the run"),
            floats("loss_sum", "cross-entropy summed over the sequence's targets", "nats"),
            ints("targets", "number of targets"),
            _MITIGATION,
        ),
    ),
    Table(
        "quantization_positions",
        "A model, a method and a range of positions: each range is the second half of what is before its end.",
        (
            _MODEL,
            _METHOD,
            *_RANGE,
            ints("targets", "number of targets in it, over all sequences"),
            floats("loss", "mean cross-entropy of the next token over these targets", "nats per token"),
            *_DELTA,
            _MITIGATION,
        ),
    ),
    Table(
        "position_losses",
        "A model, a method, a range of positions and a sequence: what intervals by position are made of.",
        (
            _MODEL,
            _METHOD,
            ints("sequence", "sequence of the run"),
            *_RANGE,
            floats("loss_sum", "cross-entropy summed over the sequence's targets in the range", "nats"),
            ints("targets", "number of these targets"),
            _MITIGATION,
        ),
    ),
    Table(
        "parts",
        "A model, a probe of weights and activations, and a part of it.",
        (
            _MODEL,
            _PROBE,
            texts("part", "what is rounded: `weights`, `activations` or `both`"),
            _LOSS,
            *_DELTA,
        ),
    ),
    Table(
        "noise",
        "A model, a probe and a linear module, alone, on its input in the unquantized model.",
        (
            _MODEL,
            _PROBE,
            _LAYER,
            _SITE,
            _MODULE,
            floats("activation_absmax", "largest |x| that the module reads, over the evaluated windows"),
            floats("weight_absmax", "largest |w|"),
            floats("activation_zeroed", "share of input values that are not 0 and are rounded to 0"),
            floats("weight_zeroed", "share of weights that are not 0 and are rounded to 0"),
            floats("sqnr_activation", "signal-to-quantization-noise ratio of the input; null without noise", "dB"),
            floats("sqnr_weight", "the same of the weight", "dB"),
            floats("sqnr_output", "the same of the output, with rounded input and rounded weight", "dB"),
        ),
    ),
    Table(
        "ranking",
        "A linear module whose share in the damage was measured, on the first windows of the run.",
        (
            _MODEL,
            _PROBE,
            ints("rank", "place among the model's modules by `delta_alone`, from 1"),
            _LAYER,
            _SITE,
            _MODULE,
            floats(
                "delta_alone", "loss with this module alone quantized, minus the unquantized loss", "nats per token"
            ),
            floats("recovered", "loss with all modules quantized, minus that with all but this one", "nats per token"),
        ),
    ),
    Table(
        "histograms",
        "A bin of the absolute values that one of the worst-ranked modules reads, or of its weight.",
        (
            _MODEL,
            _LAYER,
            _SITE,
            _MODULE,
            texts("tensor", "`activation` (the input) or `weight`"),
            floats("low", "lower end of the bin, included; the first bin also holds everything smaller"),
            floats("high", "upper end of the bin; the last bin also holds everything larger"),
            ints("count", "values in the bin"),
        ),
    ),
    Table(
        "outliers",
        "A model: how extreme its activations are, unquantized, on the same windows.",
        (
            _MODEL,
            floats("abs_max", "largest |x| of the residual stream, equation (5)"),
            floats("abs_max_over_median", "its ratio to the median |x| of its sequence and layer"),
            floats("kurtosis_max", "Pearson's kurtosis of the residual stream, largest over layers"),
            floats("linear_absmax", "largest |x| that a quantized linear module reads"),
            floats("sink_rate_mean", "share of heads that are sinks at token 0, mean over layers, equation (1)"),
            floats("sink_rate_max", "the same, largest over layers"),
            ints("massive_count", "massive activations in the residual stream, by the binary test of equation (5)"),
        ),
    ),
    Table(
        "mitigation_sites",
        "A linear module that probes quantize, unquantized, under a mitigation that changes what it reads: what is "
        "left of the outliers, over calibration text.",
        (
            _MODEL,
            texts("mitigation", "what was done about outliers; `none` is nothing"),
            _LAYER,
            _SITE,
            _MODULE,
            floats("abs_max", "largest |x| that the module reads"),
            floats("kurtosis", "Pearson's kurtosis of all that it reads (normal: 3)"),
        ),
    ),
)
