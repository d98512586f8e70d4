"""The tables of an analysis."""

from sinkscope.tables.column import Column, Table, floats, ints, texts

_LAYER = ints("layer", "decoder layer")
_HEAD = ints("head", "query head")
_KV_HEAD = ints("kv_head", "key/value head")
_POSITION = ints("position", "token position in its sequence")
_SEQUENCE = ints("sequence", "sequence of the run")
_SITE = texts("site", "measured site")
_EXPERT = ints("expert", "expert of its kind")
_GROUP = texts("group", "first (position 0), sink (other positions where a head of the layer has a sink) or other")
_TOKEN = texts("token", "the token that stands there")

TABLES = (
    Table(
        "heads",
        "A query head and a position: position 0 for every head, any other where that head had a sink in a sequence.",
        (
            _LAYER,
            _HEAD,
            _POSITION,
            floats("alpha", "mean over sequences of alpha_s, equation (1); the self term t = s counts"),
            floats("sink_fraction", "share of sequences whose alpha_s exceeds epsilon"),
            floats(
                "mass",
                "mean over sequences of the column sum M_s, equation (2); null at a late sink that some forward passes "
                "of a Scope did not cover (columns = all covers every position)",
            ),
            floats("second_moment", "mean over sequences of the column's sum of squares S_s, equation (2)"),
        ),
    ),
    Table(
        "layers",
        "A layer.",
        (
            _LAYER,
            floats("sink_rate", "mean over heads of sink_fraction at position 0"),
            floats("gradient_sink_ratio", "R_GS at position 0, equation (6), from batch-summed gradients at hn"),
            floats(
                "alpha_norm_correlation",
                "Spearman's rank correlation over positions of head-averaged alpha_s with the mean norm of h_in_s",
            ),
        ),
    ),
    Table(
        "sites",
        "A layer and a site, over all tokens and channels of the run.",
        (
            _LAYER,
            _SITE,
            floats("abs_max", "largest |x|"),
            floats("abs_median", "median over sequences of the sequence's median |x| (lower of the two middle values)"),
            floats("kurtosis", "Pearson's kurtosis (normal distribution: 3), population moments"),
        ),
    ),
    Table(
        "positions",
        "A layer, a site and an early position.",
        (
            _LAYER,
            _SITE,
            _POSITION,
            floats("norm", "l2 norm of the token's vector, mean over sequences, equation (3)"),
            floats("norm_max", "the same, maximum over sequences"),
            floats("grad_norm", "l2 norm of the batch-summed gradient of the run's mean loss", "nats per unit"),
        ),
    ),
    Table(
        "branches",
        "A layer, a branch (attn or mlp) and an early position; equation (8) on batch-summed gradients.",
        (
            _LAYER,
            texts("branch", "attn or mlp"),
            _POSITION,
            floats("input_norm", "mean over sequences of the l2 norm of the branch norm's input (h_in or h_half)"),
            floats("bloat", "|dL/d norm output| / |dL/d branch output|"),
            floats("change", "|dL/d branch input| / |dL/d residual after the branch|"),
            floats("compress", "|norm's vector-Jacobian product of dL/d norm output| / |dL/d norm output|"),
        ),
    ),
    Table(
        "bounds",
        "A layer and a bound, checked for every sequence and token that it covers.",
        (
            _LAYER,
            texts("bound", "value_mass, value_moment (equation 12), compress_attn or compress_mlp (equation 13)"),
            ints("checked", "pairs compared; zero bounds are left out"),
            floats("max_ratio", "largest measured / bound"),
            floats("mean_ratio", "mean measured / bound"),
            ints("violations", "pairs with measured / bound above 1 + 1e-4 (float32) or 1 + 2e-2 (16 bit)"),
        ),
    ),
    Table(
        "massive",
        "An entry of a hidden state: the 8 largest of each sequence, layer and site, and of its 32 largest all massive "
        "ones.",
        (
            _LAYER,
            _SITE,
            _SEQUENCE,
            _POSITION,
            _TOKEN,
            ints("channel", "index in the hidden dimension"),
            floats("value", "the entry"),
            floats("ratio_to_median", "|value| over the median |x| of the same sequence, layer and site"),
            Column("is_massive", "bool", "", "|value| > 100 and ratio_to_median >= 1000"),
        ),
    ),
    Table(
        "massive_counts",
        "A layer, a site and a sequence with massive activations: how many there are, listed in `massive` or not.",
        (
            _LAYER,
            _SITE,
            _SEQUENCE,
            ints("entries", "entries x with |x| > 100 and at least 1000 times the median |x|, equation (5)"),
            ints("positions", "positions that have one"),
            ints("channels", "channels that have one"),
        ),
    ),
    Table(
        "values",
        "A layer, a key/value head and an early position; equation (4).",
        (
            _LAYER,
            _KV_HEAD,
            _POSITION,
            floats("norm", "mean over sequences of |v|, the raw value projection"),
            floats("norm_scaled", "mean over sequences of |v| as attention sees it"),
        ),
    ),
    Table(
        "vscale",
        "A layer and a key/value head of a model with V-scale.",
        (
            _LAYER,
            _KV_HEAD,
            floats("theta", "learned exponent, equation (15)"),
            floats("C", "threshold on |v|^2, equation (15)"),
        ),
    ),
    Table(
        "sequences",
        "A per-sequence value of a headline metric, for intervals; layer is null where the metric has none.",
        (
            Column("layer", "Int64", "", "decoder layer"),
            _SEQUENCE,
            texts(
                "metric",
                "loss, sink_rate, abs_max (of h_out), or {site}_t0 and {site}_early for h_out, r_mlp, r_attn, "
                "v_scaled; where sequences differ in the number of their targets, also targets, that number",
            ),
            floats(
                "value",
                "its value; t0 is the norm at position 0, early its mean over positions 1 to 15 "
                "(v_scaled: averaged over kv heads); the loss of a sequence without a target is null",
            ),
        ),
    ),
    Table(
        "slope_sums",
        "A layer and a sequence: sums over kv heads and early positions of what the slope of equation (11) is made of, "
        "x = ln M_s^2 and y = ln |dL/dv_s|^2; pairs where either is 0 are left out.",
        (
            _LAYER,
            _SEQUENCE,
            floats("pairs", "number of pairs"),
            floats("x", "sum of x"),
            floats("y", "sum of y"),
            floats("xx", "sum of x^2"),
            floats("xy", "sum of x y"),
            floats("yy", "sum of y^2"),
        ),
    ),
    Table(
        "gradient_blocks",
        "Inner product of two blocks' gradient sums at hn, for an exact block bootstrap of R_GS; block_i <= block_j.",
        (
            _LAYER,
            _POSITION,
            ints("block_i", "block of consecutive sequences; all of one size, a power of two, but for the last"),
            ints("block_j", "block of consecutive sequences"),
            floats("dot", "inner product of the two blocks' shares of the run's gradient"),
        ),
    ),
    Table(
        "sinks",
        "A sink: a head of one sequence whose alpha at a position exceeds epsilon.",
        (_LAYER, _HEAD, _SEQUENCE, _POSITION, _TOKEN, floats("alpha", "equation (1) for this sequence")),
    ),
    Table(
        "sink_norms",
        "A layer, a sequence and a position where some head of the layer has a sink, or position 0.",
        (
            _LAYER,
            _SEQUENCE,
            _POSITION,
            _TOKEN,
            ints("heads", "query heads of the layer with a sink there; 0 only at position 0"),
            floats("norm", "l2 norm of the token's vector entering the layer (h_in)"),
            ints("rank", "1 + the number of positions of the sequence with a larger norm there"),
            ints("positions", "positions of the sequence"),
        ),
    ),
    Table(
        "maps",
        "A cell of an attention map of the run's first sequence: heads with the layer's largest and smallest alpha_0.",
        (
            _LAYER,
            _HEAD,
            texts("kind", "window (the first tokens) or pooled (the whole sequence in at most 64 x 64 cells)"),
            ints("row", "query position, or query cell"),
            ints("column", "key position, or key cell"),
            floats("weight", "attention weight; pooled: mean over sampled queries of the weight on the key cell"),
        ),
    ),
    Table(
        "map_tokens",
        "A position that the windows of `maps` show.",
        (_POSITION, _TOKEN),
    ),
    Table(
        "scatter",
        "A sampled pair of a measured quantity and what bounds or predicts it.",
        (
            _LAYER,
            texts("kind", "a bound's name, or mass_slope: x = M_s^2, y = |dL/dv_s|^2 of one sequence, equation (11)"),
            Column("kv_head", "Int64", "", "key/value head; null for the compress bounds"),
            Column("sequence", "Int64", "", "sequence"),
            _POSITION,
            floats("x", "the bound or the predictor"),
            floats("y", "the measured quantity"),
        ),
    ),
    Table(
        "experts",
        "A layer and an expert of a mixture of experts; absent for dense models.",
        (
            _LAYER,
            texts("kind", "routed, or shared (sees every token; all shared experts of a layer as one)"),
            _EXPERT,
            ints("tokens", "tokens given to the expert"),
            floats("share", "its share of the layer's pairs of a token and an expert"),
            floats("abs_max", "largest |x| at the input of its down projection (down_in); null without tokens"),
            floats("abs_median", "median over sequences of the median |x| there of the sequence's tokens"),
            floats("kurtosis", "Pearson's kurtosis there (normal distribution: 3), population moments"),
            ints("massive", "entries there with |x| > 100 and 1000 times the median of the sequence's tokens there"),
            floats("output_abs_max", "largest |x| of its output, before the router weight"),
            ints("output_position", "position of that entry; -1 without tokens", least=-1),
            texts("output_token", "the token that stands there"),
            ints("output_channel", "its channel; -1 without tokens", least=-1),
            Column(
                "is_super",
                "bool",
                "",
                "a super expert: output_abs_max above the 99.5th percentile of all routed experts' and above a "
                "tenth of the largest, in a layer that forms massive activations",
            ),
        ),
    ),
    Table(
        "router",
        "A layer, a routed expert and a group of tokens that has some; absent for dense models.",
        (
            _LAYER,
            _EXPERT,
            _GROUP,
            ints("tokens", "tokens of the group that were given to the expert"),
            floats("share", "their share of the group's tokens; over experts it sums to the experts per token"),
            floats("weight", "mean router weight of these tokens at the expert; null without tokens"),
        ),
    ),
    Table(
        "routing",
        "A layer and a group of tokens that has some: how its tokens are routed; absent for dense models.",
        (
            _LAYER,
            _GROUP,
            ints("tokens", "tokens of the group"),
            floats("entropy", "mean over them of the entropy of the router's scores over all experts", "nats"),
            floats(
                "overlap_first",
                "share of its experts that a token of the group has in common with another at position 0, mean "
                "over pairs",
            ),
            floats("overlap_sink", "the same with other sinks of the layer"),
            floats("overlap_other", "the same with the remaining tokens"),
        ),
    ),
    Table(
        "learned_sinks",
        "A layer and a query head with a learned sink logit; absent for models without.",
        (
            _LAYER,
            _HEAD,
            floats("logit", "the learned logit"),
            floats("mass", "weight of the learned sink, mean over the queries of a sequence, then over sequences"),
            floats("token_mass", "weight of all tokens together, 1 - mass: the rows of the attention sum to it"),
            floats("early_mass", "mass over the queries that alpha_0 averages over"),
            floats("alpha", "alpha of token 0 over these same queries, equation (1), mean over sequences"),
        ),
    ),
    Table(
        "token_kinds",
        "A stretch of tokens of one kind in a sequence; absent for models of text alone.",
        (
            _SEQUENCE,
            ints("start", "position of its first token"),
            ints("stop", "position after its last token"),
            texts("kind", "text, or image (positions that image embeddings are put in place of)"),
        ),
    ),
    Table(
        "modalities",
        "A layer and a kind of token that there is; absent for models of text alone.",
        (
            _LAYER,
            texts("kind", "first (position 0, whichever it is), text or image"),
            ints("tokens", "tokens of the kind"),
            ints("judged", "those at a position where alpha is defined"),
            ints("sinks", "those where some head of the layer has a sink"),
            floats("sink_share", "sinks over judged; null where none is judged"),
            floats("norm", "mean |h_out| over the tokens"),
            floats("norm_max", "largest |h_out|"),
            floats("abs_max", "largest entry of h_out"),
        ),
    ),
)
