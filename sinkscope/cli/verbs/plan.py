"""`sinkscope plan`: what an analysis would need, from the model's configuration alone."""

import json as encoding
import sys

import typer

from sinkscope.capture.settings import Settings
from sinkscope.cli import options


def plan(
    model: options.Model = "demo",
    revision: options.Revision = None,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    quantize: options.Quantize = None,
    sequences: options.Sequences = 32,
    tokens: options.Tokens = None,
    batch_size: options.BatchSize = 1,
    no_backward: options.NoBackward = False,
    early: options.Early = Settings.early,
    positions: options.Positions = Settings.positions,
    spill: options.PlanSpill = None,
    json: options.PlanJson = False,
) -> None:
    """Say what an analysis would need: memory, time, and the driver for this machine."""
    settings = Settings(early=early, positions=positions, backward=not no_backward)
    from sinkscope.planning import plan as planning

    made = planning.plan(
        model,
        tokens=tokens,
        sequences=sequences,
        batch_size=batch_size,
        revision=revision,
        dtype=dtype,
        quantize=quantize,
        device=device,
        settings=settings,
        spill=spill,
    )
    if json:
        typer.echo(encoding.dumps(made.as_json(), indent=2))
        return
    from rich.console import Console

    from sinkscope.cli.plan_table import PlanTable

    table = PlanTable(made)
    if sys.stdout.isatty():
        Console().print(table)
    else:
        typer.echo(str(table))
