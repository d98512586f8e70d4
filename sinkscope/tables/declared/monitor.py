"""The table of a monitor inside a training loop."""

from sinkscope.quantities.rows import beside_the_headline, monitored
from sinkscope.tables.column import Table, floats, ints, texts

TABLES = (
    Table(
        "monitor",
        "A step of a training run and a number that `sinkscope.Monitor` logged there.",
        (
            ints("step", "optimizer steps done"),
            texts("metric", f"a headline number of an analysis, or {beside_the_headline(monitored())}"),
            floats("value", "its value on the monitor's probe"),
        ),
    ),
)
