"""The plan for the terminal: the model's parts, the drivers side by side, what is free, and the choice."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.cli.flags import with_flags
from sinkscope.durations import duration_text
from sinkscope.planning.choose import size
from sinkscope.planning.plan import Plan
from sinkscope.report.plain import Plain


@dataclass(frozen=True)
class PlanTable(Plain):
    """A plan; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    plan: Plan

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plan = self.plan
        work = plan.work
        how = str(plan.choice.dtype).removeprefix("torch.") + (f", {plan.quantize}" if plan.quantize else "")
        yield Text(f"{plan.model.name}: {plan.model.config.model_type}, {how}", style="bold")
        yield Text(f"{work.sequences} sequences of {work.tokens} tokens, {work.micro_batch} per pass", style="dim")
        yield _parameters(plan)
        yield _drivers(plan)
        yield _free(plan)
        yield Text(f"driver: {plan.choice.driver}", style="bold green" if plan.choice.fits else "bold red")
        yield Text(f"  {with_flags(plan.choice.reason)}")
        yield Text(f"time: {plan.duration.time_class}", style="bold")
        yield Text(f"  {_time(plan)}")
        for warning in plan.warnings:
            yield Text(f"! {with_flags(warning)}", style="yellow")


def _parameters(plan: Plan) -> Table:
    parts = plan.choice.parameters
    table = _table("weights", "parameters", "bytes")
    head = "head (the embedding's)" if parts.tied else "head"
    largest = f"layer, the largest of {parts.layers}"
    rows = [("embedding", parts.embedding), (largest, parts.layer), (head, parts.head), ("all", parts.total)]
    for name, part in rows:
        table.add_row(name, f"{part.parameters:,}", size(part.bytes), style="bold" if name == "all" else "")
    return table


def _drivers(plan: Plan) -> Table:
    table = _table("driver needs", "weights", "activations", "statistics", "between layers", "all")
    for driver, need in plan.choice.needs.items():
        parts = (need.weights, need.activations + need.scratch, need.statistics, need.boundary, need.total)
        chosen = driver == plan.choice.driver
        table.add_row(driver, *(size(part) for part in parts), style="bold" if chosen else "")
    return table


def _free(plan: Plan) -> Table:
    machine = plan.machine
    table = _table("free", "bytes", "what")
    limit = ", under this container's limit" if machine.memory_limit else ""
    table.add_row("memory", size(machine.memory), f"{machine.cores} cores{limit}")
    for gpu in machine.gpus:
        table.add_row(gpu.device, size(gpu.free), f"{gpu.product}, {size(gpu.total)} in all")
    table.add_row("disk", size(machine.disk), machine.disk_folder)
    return table


def _time(plan: Plan) -> str:
    time = plan.duration
    computing = (
        f"{duration_text(time.computing)} for {time.flops:.2g} operations at {time.rate / 1e9:.3g} GFLOP/s "
        f"({str(plan.choice.dtype).removeprefix('torch.')}, measured)"
    )
    reading = f", and {duration_text(time.reading)} to read weights at 0.5 GB/s (assumed)" if time.reading else ""
    return f"about {computing}{reading}"


def _table(first: str, *rest: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in rest:
        table.add_column(name, justify="left" if name == "what" else "right")
    return table
