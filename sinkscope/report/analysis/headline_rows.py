"""The headline numbers as rows of text, with what the paper reports beside them: one source for page 1 and terminal."""

from dataclasses import dataclass, replace
from typing import Any

from sinkscope.quantities.rows import quantity
from sinkscope.report.analysis.massive_words import channel_words, facts
from sinkscope.report.published import PAPER, TRAINED, published_for
from sinkscope.report.text import NOT_MEASURED, counted, number, printable
from sinkscope.report.under import under
from sinkscope.tables.applicability import reason
from sinkscope.tables.run_folder import Run

_BASELINE, _VSCALE = "0.3B baseline", "0.3B V-scale"
_PAPER_SHAPE = (17, 1024)  # layers and hidden size of these models
_PAPER_SINK = (0.3, 64)  # epsilon and T_eps of the paper's sink rate
_OF_SINK_RATE = ("sink_rate_mean",)
_RATIOS = ("residual_t0_over_early", "value_drain")
HEADER = ("Quantity", "This run", "Paper: baseline", "Paper: V-scale", "Remark")
REFERENCE_NOTE = (
    f"Paper: the 0.3B models of {PAPER}, trained from scratch on C4 (step 20000, GPT-2 tokenizer); means and "
    "maxima are over layers. Losses and norms are given beside a model of the same shape alone: between others they do "
    "not compare. "
    '"Token 0" is the first token of a sequence, "early" are positions 1 to 15. Numbers in brackets are equations '
    "of the project's definitions."
)
PUBLIC_NOTE = "Published values come from other text and code; sources may count layers or set thresholds differently."

NOT_APPLICABLE = "not applicable"
NO_INTERVAL = "no interval"


@dataclass(frozen=True)
class Row:
    """A headline quantity: what it is, this run's value, the two reference values, and a remark.

    `chief` rows stand on page 1, the others on the page of all numbers.
    """

    quantity: str
    measured: str
    baseline: str
    vscale: str
    remark: str
    chief: bool = True


def rows(run: Run) -> list[Row]:
    """The headline table of a run."""
    head = run.info["headline"]
    forward = [
        _row(run, "loss", digits=4, remark=_unless(head, "perplexity", "perplexity {}")),
        _row(run, "sink_rate_mean", "sink_rate_max", remark=_heads(head)),
        _row(run, "residual_t0_mean", "residual_t0_max", chief=False,
             remark=_unless(head, "residual_early_mean", "early mean {}")),
        _row(run, "residual_t0_over_early",
             remark=_unless(head, "residual_t0_over_early_max", "largest in a layer {}")),
        _row(run, "mlp_t0_mean", "mlp_t0_max", chief=False),
        _row(run, "attn_t0_mean", "attn_t0_max", chief=False),
        _row(run, "value_drain", remark="below 1: drained"),
        _row(run, "abs_max", remark=_where(head)),
        _row(run, "abs_over_median_max", remark="largest of any entry"),
        _row(run, "kurtosis_max", remark="3 is a normal distribution", chief=False),
        _row(run, "massive_count", remark=_massive(run), chief=False),
        _row(run, "sink_norm_rank_median", remark=f"of {number(run.info['data']['tokens'])}; 1: the largest norm"),
    ]  # fmt: skip
    forward += _particular(run)
    return forward + (_backward(run, head) if run.backward else [])


def public_rows(run: Run) -> list[tuple[str, str, str, str]]:
    """Quantity, this run's value, published value and source, for a model with published values."""
    head = run.info["headline"]
    known = published_for(str(run.info["model"]["name"]))
    return [
        (
            quantity(value.metric).title,
            _plain(head.get(value.metric)),
            _plain(value.value),
            f"{value.model}, {value.source}",
        )
        for value in known
        if run.backward or not value.metric.startswith("gradient")
    ]


def model_line(run: Run) -> str:
    """The model in a line."""
    model = run.info["model"]
    facts = [
        counted(model["layers"], "layer"),
        f"{counted(model['heads'], 'head')} ({model['kv_heads']} kv)",
        f"hidden size {model['hidden_size']}",
        f"{_parameters(model['parameters'])} parameters",
        str(model["dtype"]),
    ]
    facts += [under(model)] if model.get("quantization") else []
    facts += [f"V-scale ({model['vscale']})"] if model.get("vscale") else []
    return f"{printable(model['name'], 60, keep_end=True)}: {', '.join(printable(fact) for fact in facts)}"


def data_line(run: Run) -> str:
    """The data in a line."""
    data = run.info["data"]
    bos = {True: "with <bos>", False: "without <bos>", None: "<bos> unknown"}[data.get("bos")]
    documents = "documents isolated" if data.get("isolated_documents") else "packed documents attend across"
    size = f"{counted(data['sequences'], 'sequence')} of {counted(data['tokens'], 'token')}"
    return f"{printable(data['source'], 60, keep_end=True)}: {size}, {bos}, {documents}"


def _backward(run: Run, head: dict[str, Any]) -> list[Row]:
    shares = [head.get(f"gradient_share_{site}") for site in "qkv"]
    return [
        *_gradient_sink(run, head),
        Row("Gradient at token 0 by q / k / v (7)", _shares(shares), "-", "-", _first_query(head), chief=False),
        Row(f"{quantity('mass_slope').title}, 95 % interval", _slope(head), "-", "-", _fit(head)),
        Row(
            quantity("bound_violations").title,
            f"{number(head['bound_violations'])} of {number(head['bounds_checked'])}",
            "-",
            "-",
            "anything but 0 is a wrong measurement",
        ),
    ]


def _gradient_sink(run: Run, head: dict[str, Any]) -> list[Row]:
    """The ratio, and its interval with the number of sequences that it holds for."""
    paper = TRAINED["0.1B baseline"]
    others = (
        f"0.1B {number(paper['gradient_sink_median'])} ({number(paper['gradient_sink_q25'], 2)} to "
        f"{number(paper['gradient_sink_q75'])}); 1B {number(TRAINED['1B baseline']['gradient_sink_median'], 2)}"
    )
    quartiles = _with_range(head, "gradient_sink_median", "gradient_sink_q25", "gradient_sink_q75")
    if reason(run, "gradient_sink_ratio") is not None:
        quartiles = NOT_APPLICABLE
    row = Row(f"{quantity('gradient_sink_median').title} (quartiles)", quartiles, *_references("gradient_sink_median"),
              others)  # fmt: skip
    if quartiles in (NOT_APPLICABLE, NOT_MEASURED):
        return [row]
    sequences = counted(run.info["data"]["sequences"], "sequence")
    ends = [head.get(f"gradient_sink_median_{end}") for end in ("low", "high")]
    interval = NO_INTERVAL if None in ends else f"{number(ends[0])} to {number(ends[1])}"
    return [row, Row(f"95 % interval over {sequences}", interval, "-", "-", "compare at equal numbers of sequences")]


def _slope(head: dict[str, Any]) -> str:
    """The slope and its interval; that of a run before the interval was over sequences stands alone."""
    if head.get("mass_slope") is None:
        return NOT_MEASURED
    ends = [head.get(f"mass_slope_{end}") for end in ("low", "high")]
    if None in ends or "mass_slope_r2" not in head:
        return f"{number(head['mass_slope'])} ({NO_INTERVAL})"
    return f"{number(head['mass_slope'])} ({number(ends[0])} to {number(ends[1])})"


def _fit(head: dict[str, Any]) -> str:
    """How well the line of the slope fits, and to how many pairs."""
    if head.get("mass_slope_r2") is None:
        return "1: gradients add up coherently"
    return f"R^2 {number(head['mass_slope_r2'], 2)}, {counted(head['mass_slope_pairs'], 'pair')}; 1: coherent"


def _first_query(head: dict[str, Any]) -> str:
    if head.get("learned_sink_mass_mean") is None:
        return "causal softmax: none by q"
    return "with learned sinks q may have some"


def _particular(run: Run) -> list[Row]:
    """What only some models have: learned sinks, experts, image tokens."""
    head = run.info["headline"]
    extra = []
    if head.get("learned_sink_mass_mean") is not None:
        means = "learned_sink_mass_mean", "learned_sink_mass_max"
        extra.append(_row(run, *means, remark="attention that no token gets"))
    if head.get("experts_total") is not None:
        experts = f"{number(head['super_experts'])} of {counted(head['experts_total'], 'expert')}"
        extra.append(Row(quantity("super_experts").title, experts, "-", "-", "whose output makes massive activations"))
        names = ("sink_routing_overlap", "other_routing_overlap")
        shares = " / ".join("none" if head.get(name) is None else number(head[name]) for name in names)
        extra.append(Row("Experts shared with token 0: sinks / others", shares, "-", "-", "share of all"))
    if head.get("image_sink_share") is not None:
        shares = " / ".join(number(head.get(name)) for name in ("image_sink_share", "text_sink_share"))
        extra.append(Row("Positions with a sink: image / text", shares, "-", "-", "mean over layers, position 0 apart"))
    return [replace(row, chief=False) for row in extra]


def _row(
    run: Run, metric: str, largest: str | None = None, remark: str = "", digits: int = 3, *, chief: bool = True
) -> Row:
    """A quantity under its title, with its largest value in brackets where there is one."""
    head = run.info["headline"]
    title, measured = quantity(metric).title, number(_whole(metric, head.get(metric)), digits)
    if largest is not None:
        title += " (max)"
    if largest is not None and measured != NOT_MEASURED:
        measured += f" ({number(head.get(largest))})"
    references = _references(metric, largest) if comparable(run, metric) else ("-", "-")
    return Row(title, measured, *references, remark, chief)


def _whole(metric: str, value: Any) -> Any:
    """A rank without decimals, where it has none."""
    whole = metric == "sink_norm_rank_median" and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def comparable(run: Run, metric: str) -> bool:
    """Whether the paper's value of a metric says something beside this run's.

    Rates and ratios do under the paper's settings; losses and norms only for a model of the paper's shape.
    """
    model, settings = run.info["model"], run.info["settings"]
    if metric in _OF_SINK_RATE:
        return (settings["sink_epsilon"], settings["sink_window"]) == _PAPER_SINK
    return metric in _RATIOS or (model["layers"], model["hidden_size"]) == _PAPER_SHAPE


def _references(metric: str, second: str | None = None) -> tuple[str, str]:
    def cell(model: str) -> str:
        values = TRAINED[model]
        if metric not in values:
            return "-"
        return f"{values[metric]:,}" + (f" ({values[second]:,})" if second in values else "")

    return cell(_BASELINE), cell(_VSCALE)


def _with_range(head: dict[str, Any], middle: str, low: str, high: str) -> str:
    if head.get(middle) is None:
        return NOT_MEASURED
    return f"{number(head[middle])} ({number(head[low])} to {number(head[high])})"


def _unless(head: dict[str, Any], metric: str, template: str) -> str:
    return "" if head.get(metric) is None else template.format(number(head[metric]))


def _heads(head: dict[str, Any]) -> str:
    layers = counted(head["sink_layers"], "layer")
    return f"{number(head['sink_heads'])} of {counted(head['heads_total'], 'head')}, in {layers}"


def _where(head: dict[str, Any]) -> str:
    if head.get("abs_max") is None:
        return ""
    return f"layer {head['abs_max_layer']}, {number(head['abs_max_over_median'])} x its median"


def _massive(run: Run) -> str:
    known = facts(run)
    if not known:
        return "|x| > 100 and at least 1,000 x the median"
    channels = tuple(sorted({channel for fact in known for channel in fact.channels}))
    zero = "" if any(not fact.at_zero for fact in known) else ", at token 0 alone"
    return f"{channel_words(channels)}{zero}"


def _shares(shares: list[float | None]) -> str:
    if any(share is None for share in shares):
        return NOT_MEASURED
    return " / ".join(f"{100 * share:.0f} %" for share in shares if share is not None)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return "none" if value is None else f"{value:,.4g}"


def _parameters(count: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
