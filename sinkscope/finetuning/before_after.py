"""The report of a finetuning: before, the control, and after, on the same held-out windows.

What is said against the control is taken from a comparison with the control as its reference, by the words and
intervals of `sinkscope.comparison`; nothing here judges.
"""

from dataclasses import replace
from pathlib import Path

from sinkscope.analysis.run import analyze
from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.comparison.run import Comparison
from sinkscope.finetuning.run import Finetuned
from sinkscope.finetuning.settings import Finetuning
from sinkscope.inputs import ModelSource
from sinkscope.quantities.rows import quantity
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run, read_run

SEQUENCES = 32
_AGAINST_CONTROL = ("residual_t0_over_early", "gradient_sink_median", "sink_rate_mean", "perplexity")
REPORT = "report"
BEFORE, AFTER, CONTROL = "before", "after", "control"
_WEIGHTS = {"all": "all weights", "lora": "low-rank layers", "theta": "theta alone"}
_STARTS = {
    "calibrated": "with C read off the model's own value norms",
    "paper": "with C from the model's initializer",
    "identity": "with C rising from 0 to that of the model's initializer",
}


def report(done: Finetuned, out: Path, *, command: str) -> Comparison:
    """Analyzes what a finetuning left, and compares.

    Args:
        done: what the finetuning left.
        out: its folder; gets `analysis/` and `report/`. Analyses that are there already are not made again.
        command: for provenance.

    Returns:
        The comparison, saved in `out/report`.
    """
    settings = done.settings
    models: dict[str, str] = {BEFORE: settings.model}
    if done.control is not None:
        models[CONTROL] = str(done.control)
    models[AFTER] = str(done.model)
    runs = {name: _analysis(model, done, out / "analysis" / name, command=command) for name, model in models.items()}
    notes = sentences(done, runs)
    compared = Comparison(compare_runs(list(runs.values()), list(runs), notes=notes))
    compared.info["command"] = command
    compared.save(out / REPORT, force=(out / REPORT).exists())
    return compared


def sentences(done: Finetuned, runs: dict[str, Run]) -> list[str]:
    """What was done, what it did to the loss, and what the control says of the rest."""
    return [_done(done.settings), _losses(done.losses), _against_control(done.settings, runs)]


def _analysis(model: str, done: Finetuned, folder: Path, *, command: str) -> Run:
    if folder.is_dir():
        return read_run(folder)
    settings = done.settings
    source = ModelSource(model, quantize=settings.quantize)
    if model == settings.model:
        source = replace(
            source,
            revision=settings.revision,
            gguf_file=settings.gguf_file,
            trust_remote_code=settings.trust_remote_code,
        )
    analysis = analyze(source, input_ids=done.valid[:SEQUENCES])
    analysis.info["data"]["source"] = f"{settings.data.source}, held out"
    analysis.info["command"] = command
    analysis.save(folder)
    return analysis.run


def _done(settings: Finetuning) -> str:
    steps = settings.schedule.steps
    tokens = steps * settings.optimizer.batch_sequences * settings.data.tokens
    trained = f"{_WEIGHTS[settings.train]} trained for {steps:,} steps ({tokens:,} tokens of {settings.data.source})"
    start = settings.vscale
    if start is None:
        return f"{settings.model} had {trained}, without a change of its architecture."
    return f"V-scale ({start.variant}) was attached to {settings.model} {_STARTS[start.init]}, and {trained}."


def _losses(losses: dict[str, float]) -> str:
    text = f"Held-out loss in nats per token: {losses['before']:.4f} before"
    if "attached" in losses:
        text += f", {losses['attached']:.4f} right after attaching V-scale"
    text += f", {losses['after']:.4f} after training"
    if "control" in losses:
        text += f"; {losses['control']:.4f} for the control, trained alike on the same windows without V-scale"
    return text + "."


def _against_control(settings: Finetuning, runs: dict[str, Run]) -> str:
    if settings.vscale is None:
        return "Training alone was measured; there is nothing to hold against a control."
    reference = CONTROL if CONTROL in runs else BEFORE if settings.train == "theta" else None
    if reference is None:
        return (
            "No control was trained, so nothing here says which changes are V-scale's and which are those of training "
            "on: train one too."
        )
    table = compare_runs([runs[reference], runs[AFTER]], [reference, AFTER])["comparison"]
    rows = table[table["run"] == AFTER].set_index("metric")
    parts = []
    for metric in _AGAINST_CONTROL:
        row = rows.loc[metric]
        name = quantity(metric).short
        if row["ratio"] != row["ratio"]:
            parts.append(f"{name} {row['verdict']}")
        else:
            parts.append(
                f"{name} {row['verdict']} (x {number(row['ratio'])}, 95 % interval {number(row['ratio_low'])} to "
                f"{number(row['ratio_high'])})"
            )
    opening = "Against the control" if reference == CONTROL else "Theta alone was trained, so against the model before"
    return f"{opening}: {'; '.join(parts)}. One training each, so these intervals do not cover the choice of seed."
