"""`sinkscope plan`: what an analysis would need, from the model's configuration alone."""

import json as encoding
from typing import Annotated

from sinkscope.analysis.settings import DriverChoice
from sinkscope.capture.settings import Settings
from sinkscope.cli import options
from sinkscope.cli.output import refuse_mistaken
from sinkscope.cli.signature import Offered
from sinkscope.inputs import ModelSource, Windows
from sinkscope.launch.collector import importing
from sinkscope.progress.display import ended
from sinkscope.terminal import show, tell_json

_SEQUENCES = {"text": "Number of sequences; by default 32."}
_SPILL = {"text": "Folder whose disk would hold the states between layers."}


def plan(
    model: Annotated[ModelSource, Offered("name", "revision", "gguf_file", "dtype", "device", "quantize")],
    windows: Annotated[Windows, Offered("sequences", "tokens", "batch_size", sequences=_SEQUENCES)],
    settings: Annotated[Settings, Offered("backward", "early", "positions", backward={"before": None})],
    driver: Annotated[DriverChoice, Offered("spill", spill=_SPILL)],
    json: options.PlanJson = False,
) -> None:
    """Say what an analysis would need: memory, time, and the driver for this machine."""
    refuse_mistaken(model)

    with importing():
        from sinkscope.planning import plan as planning

    made = planning.plan(
        model,
        tokens=windows.tokens,
        sequences=windows.count,
        batch_size=windows.batch_size,
        settings=settings,
        spill=driver.spill,
    )
    ended()
    if json:
        tell_json(encoding.dumps(made.as_json(), indent=2))
        return
    from sinkscope.cli.plan_table import PlanTable

    show(PlanTable(made))
