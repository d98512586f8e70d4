"""What a monitor logs: the quantities that are declared as monitored."""

from sinkscope.quantities.rows import monitored
from sinkscope.tables.headline import number
from sinkscope.tables.run_folder import Run


def logged(run: Run) -> dict[str, float]:
    """The numbers of a run that go to a tracker; what the run has not measured is left out."""
    values = {row.name: number(run, row) for row in monitored()}
    return {name: float(value) for name, value in values.items() if value is not None}
