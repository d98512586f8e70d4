"""The report of a finetuning: the control, before, and after, on the same held-out windows.

Where there is a control it is the reference of the comparison, whose ratios, intervals and verdicts are against it; the
ratios to the model before are said beside them. All words are those of `sinkscope.comparison`; nothing here judges.
"""

from dataclasses import replace
from pathlib import Path

from sinkscope.analysis.run import analyze
from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.comparison.run import Comparison
from sinkscope.finetuning.curves import training_losses
from sinkscope.finetuning.run import Finetuned
from sinkscope.finetuning.settings import AFTER, BEFORE, CONTROL, Finetuning
from sinkscope.inputs import ModelSource
from sinkscope.quantities.rows import quantity
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run, read_run

SEQUENCES = 32
_AGAINST_CONTROL = ("residual_t0_over_early", "gradient_sink_median", "sink_rate_mean", "perplexity")
REPORT = "report"
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
    # The first is the reference of every ratio and verdict. Training alone changes a model too, so that is the control.
    models: dict[str, str] = {} if done.control is None else {CONTROL: str(done.control)}
    models |= {BEFORE: settings.model, AFTER: str(done.model)}
    runs = {name: _analysis(model, done, out / "analysis" / name, command=command) for name, model in models.items()}
    notes = sentences(done, runs)
    run = compare_runs(list(runs.values()), list(runs), notes=notes)
    compared = Comparison(Run(run.info, {**run.tables, "training_losses": training_losses(done)}))
    compared.info["command"] = command
    compared.save(out / REPORT, force=(out / REPORT).exists())
    return compared


def sentences(done: Finetuned, runs: dict[str, Run]) -> list[str]:
    """What was done, what it did to the loss, what the control says of the rest, and the ratios to before beside it."""
    return [
        _done(done.settings),
        _losses(done.losses),
        _against_control(done.settings, runs),
        *_against_before(runs),
    ]


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
    parts = [
        f"{name} {verdict}{f' ({ratio})' if ratio else ''}" for name, ratio, verdict in _ratios(runs, reference, AFTER)
    ]
    opening = "Against the control" if reference == CONTROL else "Theta alone was trained, so against the model before"
    return f"{opening}: {'; '.join(parts)}. One training each, so these intervals do not cover the choice of seed."


def _against_before(runs: dict[str, Run]) -> list[str]:
    """The ratios to the model before, of what was trained and of the control, without verdicts: training moves both."""
    if CONTROL not in runs:
        return []
    parts = []
    for (name, after, _), (_, control, _) in zip(
        _ratios(runs, BEFORE, AFTER), _ratios(runs, BEFORE, CONTROL), strict=True
    ):
        parts.append(f"{name} {after or 'no ratio'}, and {control or 'no ratio'} for the control")
    return [f"Against the model before: {'; '.join(parts)}."]


def _ratios(runs: dict[str, Run], reference: str, name: str) -> list[tuple[str, str, str]]:
    """By metric its name, the ratio with its interval in words (empty where there is none), and the verdict."""
    table = compare_runs([runs[reference], runs[name]], [reference, name])["comparison"]
    rows = table[table["run"] == name].set_index("metric")
    found = []
    for metric in _AGAINST_CONTROL:
        row = rows.loc[metric]
        ratio = "" if row["ratio"] != row["ratio"] else f"x {number(row['ratio'])}"
        if ratio and row["ratio_low"] == row["ratio_low"]:
            ratio += f", 95 % interval {number(row['ratio_low'])} to {number(row['ratio_high'])}"
        found.append((quantity(metric).short, ratio, str(row["verdict"])))
    return found
