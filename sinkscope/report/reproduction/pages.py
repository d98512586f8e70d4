"""The pages of a reproduction, in the order of the paper: sinks and norms, gradients, the valve, quantization.

Its figures are those of a comparison of its models.
"""

from sinkscope.report.comparison import by_layer, gradient_sinks, reshaping, theta, values
from sinkscope.report.entry import Entry
from sinkscope.report.reproduction import differences, first_steps, front_page, pathways, tables_pages, tests_pages

REGISTRY: tuple[Entry, ...] = (
    front_page.ENTRY,
    *tests_pages.ENTRIES,
    by_layer.ENTRY,
    gradient_sinks.ENTRY,
    pathways.ENTRY,
    values.ENTRY,
    *reshaping.ENTRIES,
    tables_pages.TRAINED,
    theta.ENTRY,
    first_steps.ENTRY,
    tables_pages.INT8,
    differences.DIFFERENCES,
    *differences.COMMANDS,
)
