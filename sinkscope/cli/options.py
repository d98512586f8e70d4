"""The command line's options, each declared once for every verb that takes it.

A verb's signature is then a list of names and defaults. Help panels group the options by what they decide: the
model, the data, what is measured, where the result goes.
"""

from pathlib import Path
from typing import Annotated

import typer

_MODEL, _DATA, _MEASURE, _OUTPUT, _TRAIN = "Model", "Data", "Measurement", "Output", "Training"
_VSCALE, _COMPARE = "V-scale", "Comparison"
_PERPLEXITY, _NEEDLES, _TASKS = "Perplexity", "Needles", "Tasks"


def _option(flag: str, panel: str, text: str, metavar: str | None = None) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(flag, help=text, rich_help_panel=panel, metavar=metavar)
    return option


# analyze


Json = Annotated[bool, _option("--json", _OUTPUT, "Print the run's run.json on stdout, and nothing else.")]


# pretrain
Recipe = Annotated[str, typer.Argument(help="A recipe: a TOML file, or the name of a shipped one.")]
TrainingOut = Annotated[Path, _option("--out", _OUTPUT, "Folder for the model, its checkpoints and metrics.")]
Set = Annotated[
    list[str] | None,
    _option("--set", _TRAIN, "Override a recipe's value, as optimizer.lr=1e-3; repeatable.", "KEY=VALUE"),
]
Steps = Annotated[int | None, _option("--steps", _TRAIN, "Optimizer steps, instead of the recipe's.")]
Seed = Annotated[int | None, _option("--seed", _TRAIN, "Random seed, instead of the recipe's.")]
Seeds = Annotated[int, _option("--seeds", _TRAIN, "Train this many seeds, each into OUT/seed-N.")]
Monitor = Annotated[int | None, _option("--monitor", _TRAIN, "Measure the headline metrics every N steps.", "N")]
TokensDir = Annotated[
    Path | None, _option("--tokens-dir", _TRAIN, "Where tokenized text is kept, to be shared; OUT/tokens by default.")
]
LogTo = Annotated[str | None, _option("--log-to", _TRAIN, "Log the metrics there too.", "tensorboard|wandb")]
Resume = Annotated[bool, _option("--resume", _TRAIN, "Continue from the newest checkpoint below --out.")]

# finetune
ValidSequences = Annotated[int, _option("--valid-sequences", _DATA, "Windows of held-out text to measure on.")]
Report = Annotated[
    bool, _option("--report/--no-report", _OUTPUT, "Analyze before and after, and write one comparison.")
]

# compare and report
Runs = Annotated[
    list[str],
    typer.Argument(
        help="Run folders, or models to analyze alike; the first is the reference. NAME=RUN names a run, "
        "NAME=RUN,RUN,RUN makes one of several seeds. Folders of `quantize` are shown side by side too.",
        metavar="RUN RUN [RUN ...]",
    ),
]

RunFolder = Annotated[Path, typer.Argument(help="A run folder of any kind.", metavar="RUN")]
Format = Annotated[
    str | None,
    _option("--format", _OUTPUT, "What to write, separated by commas: report.pdf, figures as PNG or SVG, report.html, "
            "headline.md, headline.tex; by default pdf,png,html, and with --style paper pdf.",
            "pdf,png,html,svg,md,tex"),
]  # fmt: skip
Style = Annotated[
    str, _option("--style", _OUTPUT, "Pages of the report, or figures for a paper, one file each in a folder paper/.",
                 "page|paper")
]  # fmt: skip
Width = Annotated[
    float, _option("--width", _OUTPUT, "Inches, of figures for a paper: 3.3 for a column, 6.8 for the text, up to 11.")
]
ReportOut = Annotated[
    Path | None, _option("--out", _OUTPUT, "Folder for the report; by default the run folder itself.")
]
ReportForce = Annotated[bool, _option("--force", _OUTPUT, "Write into an existing folder, over an older report.")]

# track

# quantize
Models = Annotated[
    list[str],
    typer.Argument(
        help="Full-precision models: demo, demo-vscale, local folders, GGUF files, or Hugging Face model ids."
    ),
]

# evaluate
Haystack = Annotated[str, _option("--haystack", _NEEDLES, "Text that hides the needles, a source as --data is.")]

# plan
PlanJson = Annotated[bool, _option("--json", _OUTPUT, "Print the plan as JSON on stdout, and nothing else.")]

# families
FamiliesJson = Annotated[bool, _option("--json", _OUTPUT, "Print the list as JSON.")]
