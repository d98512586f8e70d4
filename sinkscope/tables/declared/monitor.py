"""The table of a monitor inside a training loop."""

from sinkscope.tables.column import Table, floats, ints, texts

TABLES = (
    Table(
        "monitor",
        "A step of a training run and a number that `sinkscope.Monitor` logged there.",
        (
            ints("step", "optimizer steps done"),
            texts("metric", "a headline number of an analysis, or theta_mean, theta_min, theta_max of V-scale"),
            floats("value", "its value on the monitor's probe"),
        ),
    ),
)
