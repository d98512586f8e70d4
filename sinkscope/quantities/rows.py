"""The quantities, a row each, in the order of run.json, and the lists that are made of them.

A threshold that the literature fixes is the literature's. Where it fixes none, the choice is made here, once,
and a comment marks it.
"""

from sinkscope.quantities import over_tables, slope
from sinkscope.quantities.norms import norm_quantities
from sinkscope.quantities.over_layers import exponential, largest, mean, over_neighbours, quantile
from sinkscope.quantities.over_tables import largest_entry, of_column, of_rows
from sinkscope.quantities.quantity import Quantity, Threshold

_MODEL = (
    Quantity("loss", "Loss [nats per token]", "mean next-token cross-entropy in nats, and its exponential",
             unit="nats per token", short="loss", over_layers=mean("loss"), compared=10, judged=False, monitored=10),
    Quantity("perplexity", "Perplexity", short="perplexity", over_layers=exponential("loss"), compared=10, margin=1.05,
             front_page=True, cost=True),
)  # fmt: skip

_ATTENTION = (
    Quantity("sink_rate_mean", "Sink rate (1), mean",
             "share of a layer's heads that are sinks: over 0.3 of the attention of the first 64 queries goes to "
             "token 0", "1", short="sink rate", over_layers=mean("sink_rate"), compared=20, front_page=True,
             monitored=10, ceiling=1.0),
    Quantity("sink_rate_max", "Sink rate, largest layer", "", "1", short="sink rate, largest layer",
             over_layers=largest("sink_rate"), compared=20, monitored=10, ceiling=1.0),
    Quantity("sink_heads", "Heads that are sinks (1)",
             "heads whose attention to token 0 exceeds 0.3 on average over sequences, of how many, and the layers "
             "that have one", "1", over_tables=over_tables.sink_heads),
    Quantity("heads_total", "Heads", over_tables=lambda run: len(run.first_heads)),
    Quantity("sink_layers", "Layers with a head that is a sink (1)", "", "1", over_tables=over_tables.sink_layers),
)  # fmt: skip

_NORMS = (
    *norm_quantities(
        "h_out",
        "residual",
        "residual",
        meaning="norm of the residual stream leaving a layer",
        ratio_meaning="how many times larger token 0 is: the ratio of the means over layers, and the largest ratio of "
        "a single layer",
        threshold=Threshold(
            "large residual norm",
            2.0,  # a choice
            "so is the norm of the residual stream (3), ratio of means over layers",
            place=30,
        ),
        ratio_on_front_page=True,
        monitored=40,
    ),
    *norm_quantities("r_mlp", "mlp", "MLP output", meaning="the same for the MLP branch's output"),
    *norm_quantities("r_attn", "attn", "attention output", meaning="the same for the attention branch's output"),
    Quantity("value_drain", "|v| as projected, token 0 / early (4)",
             "norm of the value vector at token 0 over the early mean, averaged over layers and key/value heads; below "
             "1, the sink carries little", "4", over_tables=over_tables.value_drain, compared=70),
)  # fmt: skip

_ACTIVATIONS = (
    Quantity("abs_max", "Largest |x| in the residual stream (5)",
             "largest entry of the residual stream, its layer, and its ratio to the median entry of its own sequence "
             "and layer", "5",
             short="largest |x| of the run", over_tables=largest_entry("abs_max"), compared=70, monitored=30),
    Quantity("abs_max_layer", "Layer of the largest |x| (5)", "", "5", over_tables=largest_entry("layer")),
    Quantity("abs_max_over_median", "Largest |x| over its own median (5)", "", "5",
             short="largest |x| over its median", over_tables=over_tables.largest_entry_over_median, monitored=30),
    Quantity("abs_over_median_max", "Largest ratio of |x| to the median (5)",
             "largest ratio of any entry of the residual stream to the median entry of its sequence and layer: reached "
             "where the median is small, and so not always by the largest entry", "5",
             short="largest ratio of |x| to the median", over_tables=over_tables.largest_ratio, monitored=30,
             threshold=Threshold(
                 "extreme activations", 50.0,  # a choice, far above any normal distribution, whatever the model's size
                 "the largest ratio of an entry of the residual stream to the median of its sequence and layer; a "
                 "normal distribution stays below 10", place=40)),
    Quantity("kurtosis_max", "Largest kurtosis (5)",
             "Pearson's kurtosis of the residual stream, largest over layers; 3 is a normal distribution", "5",
             over_tables=lambda run: run.residual_sites["kurtosis"].max(), compared=70),
    Quantity("massive_count", "Massive activations (5), entries",
             "entries of the residual stream over 100 and over 1000 times the median, the channels that hold most of "
             "them, the first layer with one", "5", short="massive activations",
             over_tables=over_tables.massive_count, compared=70, monitored=30,
             threshold=Threshold("massive activations", 1.0,
                                 "an entry of the residual stream passes the binary test (5)", place=50)),
    Quantity("massive_channels", "Massive channels (5)", "", "5", over_tables=over_tables.massive_channels,
             tracked=False),
    Quantity("massive_first_layer", "First layer with massive activations (5)", "", "5",
             over_tables=over_tables.massive_first_layer),
)  # fmt: skip

_GRADIENTS = (
    Quantity("gradient_sink_q25", "Gradient-sink ratio, lower quartile",
             "gradient norm at token 0 over the mean at positions 1 to 31, of gradients summed over the run's "
             "sequences, on whose number it depends: median and quartiles over layers, and the median's 95 % interval "
             "over sequences", "6",
             over_layers=quantile("gradient_sink_ratio", 0.25), compared=40, backward=True),
    Quantity("gradient_sink_median", "Gradient-sink ratio (6), median", "", "6", short="gradient-sink ratio",
             over_layers=quantile("gradient_sink_ratio", 0.5), compared=30, backward=True, front_page=True,
             monitored=20, interval=True,
             threshold=Threshold(
                 "gradient sink", 2.0,  # a choice, as equation (6) itself fixes none
                 "the gradient at token 0 is twice that of early tokens (6), median over layers", place=20)),
    Quantity("gradient_sink_q75", "Gradient-sink ratio, upper quartile", "", "6",
             over_layers=quantile("gradient_sink_ratio", 0.75), compared=40, backward=True),
    Quantity("gradient_share_q", "Gradient at token 0 by q (7)",
             "share of each pathway in the sum of the three gradient norms at token 0; q has none under a causal "
             "softmax", "7", over_tables=over_tables.gradient_share("q"), backward=True),
    Quantity("gradient_share_k", "Gradient at token 0 by k (7)", "", "7",
             over_tables=over_tables.gradient_share("k"), compared=70, backward=True),
    Quantity("gradient_share_v", "Gradient at token 0 by v (7)", "", "7",
             over_tables=over_tables.gradient_share("v"), compared=70, backward=True),
    Quantity("bounds_checked", "Bounds (12), (13): checks",
             "inequalities checked, and how many failed; a failure is a wrong measurement", "12, 13",
             over_tables=over_tables.total("bounds", "checked"), backward=True),
    Quantity("bound_violations", "Bounds (12), (13): violations of checks", "", "12, 13",
             over_tables=over_tables.total("bounds", "violations"), backward=True),
    Quantity("mass_slope", "Slope of gradient on mass (11)",
             "slope of the log of the squared value gradient against the log of the squared column mass, over layers, "
             "kv heads, early positions and sequences, with its 95 % interval over sequences, the share of the "
             "variance that the line explains, and the number of pairs; 1 when the gradients of a column add up "
             "coherently", "11", short="slope of gradient on mass", over_layers=slope.slope, compared=70, judged=False,
             backward=True, interval=True),
    Quantity("mass_slope_r2", "Slope of gradient on mass (11), R^2", "", "11", over_layers=slope.r_squared,
             backward=True),
    Quantity("mass_slope_pairs", "Slope of gradient on mass (11), pairs", "", "11",
             over_tables=over_tables.slope_pairs, backward=True),
)  # fmt: skip

_NORMS_OF_SINKS = (
    Quantity("sink_norm_rank_median", "Rank of sinks by norm, median",
             "rank of a sink token's norm among all positions of its sequence, in the residual stream entering the "
             "layer where some head has the sink; 1 is the largest norm. Median over layers, sequences and sink "
             "tokens; null without a sink", short="rank of sinks by norm",
             over_tables=over_tables.sink_norm_rank, compared=70, judged=False),
    Quantity("alpha_norm_correlation_median", "Rank correlation of alpha and norm",
             "rank correlation over all positions between attention received and residual norm, median over layers; "
             "hundreds of ordinary positions decide it, not the sinks",
             over_tables=of_column("layers", "alpha_norm_correlation", "median"), compared=70, judged=False),
)  # fmt: skip

_ARCHITECTURES = (
    Quantity("experts_total", "Experts",
             "routed experts of all layers, and the super experts among them; null without experts",
             over_tables=over_tables.experts_total),
    Quantity("super_experts", "Super experts", over_tables=over_tables.super_experts),
    Quantity("sink_routing_overlap", "Experts shared with token 0: sinks",
             "share of a token's experts that it has in common with token 0: later sinks, and all other tokens, mean "
             "over layers; null without experts",
             over_tables=of_rows("routing", "group", "sink", "overlap_first")),
    Quantity("other_routing_overlap", "Experts shared with token 0: others",
             over_tables=of_rows("routing", "group", "other", "overlap_first")),
    Quantity("learned_sink_mass_mean", "Weight of learned sinks, mean",
             "attention weight of learned sinks, mean and maximum over heads; null without them",
             over_tables=of_column("learned_sinks", "mass", "mean")),
    Quantity("learned_sink_mass_max", "Weight of learned sinks, largest head",
             over_tables=of_column("learned_sinks", "mass", "max")),
    Quantity("image_sink_share", "Positions with a sink: image",
             "share of image and of text positions, position 0 apart, where some head has a sink, mean over layers; "
             "null for models of text alone", over_tables=of_rows("modalities", "kind", "image", "sink_share")),
    Quantity("text_sink_share", "Positions with a sink: text",
             over_tables=of_rows("modalities", "kind", "text", "sink_share")),
)  # fmt: skip

_BESIDE_THE_HEADLINE = (
    Quantity("alpha_max", "Largest alpha_0 of a head (1)",
             "largest attention of a head to token 0, mean over sequences", "1", short="largest alpha_0",
             over_tables=over_tables.alpha_max, headline=False,
             threshold=Threshold("attention sink", None,
                                 "some head gives token 0 more than 0.3 of its attention (1), mean over sequences",
                                 place=10, exceeds=True)),
    Quantity("abs_max_mean", "Largest |x| (5), mean over sequences",
             "the largest |x| of the residual stream in each sequence, averaged over sequences, in the layer where "
             "that mean is largest. It is what the headline's `abs_max`, a maximum over the whole run, would be for a "
             "typical sequence", "5", short="largest |x|", over_layers=largest("abs_max"), headline=False,
             tracked=False, compared=60, front_page=True),
    Quantity("value_scaled_t0_over_early", "|v| as attended to, token 0 / early (4)",
             "norm of the values as attention sees them at token 0, over positions 1 to 15, both averaged over layers, "
             "heads and sequences", "4", over_layers=over_neighbours("v_scaled"), headline=False, tracked=False,
             compared=60),
    Quantity("theta_mean", "theta of V-scale (15), mean", "mean of V-scale's theta over layers and heads", "15",
             over_tables=of_column("vscale", "theta", "mean"), headline=False, compared=70, judged=False,
             monitored=50),
    Quantity("theta_min", "theta of V-scale (15), smallest", "smallest theta over layers and heads", "15",
             over_tables=of_column("vscale", "theta", "min"), headline=False, monitored=50),
    Quantity("theta_max", "theta of V-scale (15), largest", "largest theta over layers and heads", "15",
             over_tables=of_column("vscale", "theta", "max"), headline=False, monitored=50),
)  # fmt: skip

QUANTITIES: tuple[Quantity, ...] = (
    *_MODEL,
    *_ATTENTION,
    *_NORMS,
    *_ACTIVATIONS,
    *_GRADIENTS,
    *_NORMS_OF_SINKS,
    *_ARCHITECTURES,
    *_BESIDE_THE_HEADLINE,
)


def quantity(name: str) -> Quantity:
    """The row of a name."""
    return next(row for row in QUANTITIES if row.name == name)


def in_headline() -> list[Quantity]:
    """What stands in run.json."""
    return [row for row in QUANTITIES if row.headline]


def headline_names(row: Quantity) -> tuple[str, ...]:
    """Under which names a quantity stands in run.json: its own, and those of the ends of its interval."""
    return (row.name, f"{row.name}_low", f"{row.name}_high") if row.interval else (row.name,)


def tracked() -> list[Quantity]:
    """What a track keeps of every checkpoint."""
    return [row for row in QUANTITIES if row.tracked]


def compared() -> list[Quantity]:
    """The metrics of a comparison."""
    places = [(row.compared, row) for row in QUANTITIES if row.compared is not None]
    return [row for _, row in sorted(places, key=lambda pair: pair[0])]


def monitored() -> list[Quantity]:
    """What a monitor logs."""
    places = [(row.monitored, row) for row in QUANTITIES if row.monitored is not None]
    return [row for _, row in sorted(places, key=lambda pair: pair[0])]


def with_threshold() -> list[tuple[Quantity, Threshold]]:
    """What has a value from which it is called large."""
    thresholds = [(row, row.threshold) for row in QUANTITIES if row.threshold is not None]
    return sorted(thresholds, key=lambda pair: pair[1].place)


def beside_the_headline(listed: list[Quantity]) -> str:
    """The names of a list that run.json does not have, in a line."""
    return ", ".join(row.name for row in listed if not row.headline)


def large(name: str) -> float:
    """From which value the quantity of a name is called large."""
    threshold = quantity(name).threshold
    if threshold is None or threshold.value is None:
        raise ValueError(f"{name} has no threshold of its own")
    return threshold.value
