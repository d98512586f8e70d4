"""R_GS layer by layer, with the sink rate beside it."""

from sinkscope.report import style
from sinkscope.report.html.charts.chart import Chart, axis, counted_axis, rounded
from sinkscope.tables.run_folder import Run


def chart(run: Run) -> Chart:
    """The ratio on a logarithmic axis, 1 marked."""
    table = run["layers"]
    layers = run.info["model"]["layers"]
    texts = [
        f"R_GS(0) {ratio:.4g}<br>sink rate {rate:.3f}"
        for ratio, rate in zip(table["gradient_sink_ratio"], table["sink_rate"], strict=True)
    ]
    line = {
        "type": "scatter", "mode": "lines+markers", "x": table["layer"].tolist(),
        "y": rounded(table["gradient_sink_ratio"].where(table["gradient_sink_ratio"] > 0)), "text": texts,
        "line": {"color": style.TOKEN_ZERO}, "hovertemplate": "layer %{x}<br>%{text}<extra></extra>",
    }  # fmt: skip
    one = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 1,
        "y1": 1,
        "line": {"color": style.GREY, "width": 1},
    }
    return Chart(
        "The gradient-sink ratio of every layer",
        "Hover or tap a point for the layer's R_GS(0) and its sink rate. At the line, 1, token 0 is as the early mean.",
        {"": [line]},
        {
            "xaxis": counted_axis("layer", layers),
            "yaxis": axis("R_GS(0)", type="log", dtick=1, exponentformat="none", separatethousands=True),
            "shapes": [one],
        },
    )
