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


Model = Annotated[
    str, typer.Argument(help="demo, demo-vscale, a local folder (./demo is one too), or a Hugging Face model id.")
]
Revision = Annotated[str | None, _option("--revision", _MODEL, "Branch, tag or commit of a Hub model.")]
Dtype = Annotated[
    str, _option("--dtype", _MODEL, "Dtype to load in; auto keeps the checkpoint's.", "auto|float32|bfloat16|float16")
]
Device = Annotated[str, _option("--device", _MODEL, "auto, cpu, cuda, cuda:1, ...")]
DeviceMap = Annotated[
    str | None,
    _option("--device-map", _MODEL, "Spread the model over devices.", "auto|balanced|balanced_low_0|sequential"),
]
Quantize = Annotated[str | None, _option("--quantize", _MODEL, "Quantize the weights with bitsandbytes.", "nf4|int8")]
TrustRemoteCode = Annotated[
    bool, _option("--trust-remote-code", _MODEL, "Let Python code that comes with the model run.")
]

Data = Annotated[
    str, _option("--data", _DATA, "stdlib, a .txt, .jsonl or .parquet file, a folder of them, or a datasets name.")
]
DataConfig = Annotated[str | None, _option("--data-config", _DATA, "Configuration of a dataset.")]
DataSplit = Annotated[str, _option("--data-split", _DATA, "Split of a dataset.")]
DataStreaming = Annotated[bool, _option("--data-streaming", _DATA, "Read a dataset while it downloads.")]
DataColumn = Annotated[str, _option("--data-column", _DATA, "Field that holds a row's text.")]
Bos = Annotated[
    str,
    _option("--bos", _DATA, "<bos> at the start of each sequence; auto: as the tokenizer does.", "auto|always|never"),
]
Sequences = Annotated[int, _option("--sequences", _DATA, "Number of sequences.")]
Tokens = Annotated[
    int | None, _option("--tokens", _DATA, "Tokens per sequence; by default the model's context, at most 2048.")
]
BatchSize = Annotated[
    int, _option("--batch-size", _DATA, "Sequences per forward pass; the numbers do not depend on it.")
]
IsolateDocuments = Annotated[
    bool, _option("--isolate-documents", _DATA, "Keep packed documents from attending to each other.")
]

# analyze
NoBackward = Annotated[bool, _option("--no-backward", _MEASURE, "Measure no gradients.")]
SinkEpsilon = Annotated[float, _option("--sink-epsilon", _MEASURE, "A head is a sink where alpha exceeds this.")]
SinkWindow = Annotated[int, _option("--sink-window", _MEASURE, "Queries that alpha averages over, itself included.")]
Early = Annotated[int, _option("--early", _MEASURE, "Last position of the early window of the gradient-sink ratio.")]
Positions = Annotated[int, _option("--positions", _MEASURE, "Early positions that get rows in the tables.")]
Columns = Annotated[str, _option("--columns", _MEASURE, "Attention columns that get mass and bounds.", "early|all")]

Stream = Annotated[
    bool | None,
    _option(
        "--stream/--no-stream", _MODEL, "Hold one layer's weights in memory at a time; by default where it must be."
    ),
]
LayerByLayer = Annotated[
    bool,
    _option("--gradient-checkpointing", _MEASURE, "Hold one layer's activations at a time, and compute them twice."),
]
Spill = Annotated[
    Path | None,
    _option("--spill", _MEASURE, "Folder that holds the states between layers instead of memory.", "DIR"),
]

Out = Annotated[Path | None, _option("--out", _OUTPUT, "Folder for the run; by default runs/<model>.")]
Force = Annotated[bool, _option("--force", _OUTPUT, "Replace an existing run folder.")]
Json = Annotated[bool, _option("--json", _OUTPUT, "Print the run's run.json on stdout, and nothing else.")]

AnalysisForce = Annotated[
    bool, _option("--force", _OUTPUT, "Replace an existing run folder, and throw away an interrupted analysis.")
]
AnalysisResume = Annotated[bool, _option("--resume", _OUTPUT, "Go on with an interrupted analysis.")]

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
VScale = Annotated[bool, _option("--vscale", _VSCALE, "Put V-scale on the values.")]
VScaleVariant = Annotated[str, _option("--vscale-variant", _VSCALE, "Which variant.", "learned|fixed|backward-only")]
VScaleInit = Annotated[
    str,
    _option(
        "--vscale-init",
        _VSCALE,
        "Where C starts: read off the model's value norms, at the paper's, or at 0, to rise to the paper's.",
        "calibrated|paper|identity",
    ),
]
VScaleWarmup = Annotated[int, _option("--vscale-warmup", _VSCALE, "Steps over which C rises from 0 to its start.")]
Control = Annotated[
    bool, _option("--control/--no-control", _VSCALE, "Train the same without V-scale too, to hold the result against.")
]
Train = Annotated[str, _option("--train", _TRAIN, "What is trained.", "all|lora|theta")]
Lora = Annotated[bool, _option("--lora", _TRAIN, "Train low-rank layers (peft); the same as --train lora.")]
LoraRank = Annotated[int, _option("--lora-rank", _TRAIN, "Rank of the low-rank layers; alpha is twice that.")]
LoadIn = Annotated[str | None, _option("--load-in", _TRAIN, "Quantize the base (bitsandbytes).", "4bit|8bit")]
FinetuneSteps = Annotated[int, _option("--steps", _TRAIN, "Optimizer steps.")]
Lr = Annotated[float | None, _option("--lr", _TRAIN, "Peak learning rate; by default 2e-4, and 1e-2 for theta alone.")]
Warmup = Annotated[int | None, _option("--warmup", _TRAIN, "Steps of warm-up of the rate; by default a tenth.")]
Optimizer = Annotated[str, _option("--optimizer", _TRAIN, "Optimizer.", "adamw|adamw8bit")]
BatchSequences = Annotated[int, _option("--batch-sequences", _TRAIN, "Windows per step, over all processes.")]
MicroSequences = Annotated[
    int | None, _option("--micro-sequences", _TRAIN, "Windows per forward pass; gradients accumulate over a step.")
]
WeightDecay = Annotated[float, _option("--weight-decay", _TRAIN, "Decay of matrices; nothing else decays.")]
Clip = Annotated[float, _option("--clip", _TRAIN, "Largest gradient norm.")]
Precision = Annotated[
    str, _option("--precision", _TRAIN, "bfloat16 is autocast over the loaded weights.", "auto|float32|bfloat16")
]
GradientCheckpointing = Annotated[
    bool, _option("--gradient-checkpointing", _TRAIN, "Recompute activations instead of keeping them.")
]
Compile = Annotated[bool, _option("--compile", _TRAIN, "Compile the training step.")]
CheckpointEvery = Annotated[int, _option("--checkpoint-every", _TRAIN, "Steps between checkpoints; two are kept.")]
EvaluateEvery = Annotated[int, _option("--evaluate-every", _TRAIN, "Steps between measurements of the held-out loss.")]
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
ComparisonOut = Annotated[Path, _option("--out", _OUTPUT, "Folder for the comparison.")]
AllowMismatch = Annotated[
    bool, _option("--allow-mismatch", _COMPARE, "Compare runs on different data or with different settings, flagged.")
]
Margin = Annotated[float, _option("--margin", _COMPARE, "Ratios within 1/margin to margin count as the same.")]
Draws = Annotated[int, _option("--draws", _COMPARE, "Bootstrap draws.")]
DrawSeed = Annotated[int, _option("--seed", _COMPARE, "Seed of the draws.")]
LikeData = Annotated[
    str | None, _option("--data", _DATA, "Text for models; by default that of the first run, else stdlib.")
]
LikeSequences = Annotated[
    int | None, _option("--sequences", _DATA, "Sequences for models; by default as in the first run, else 32.")
]
LikeTokens = Annotated[
    int | None, _option("--tokens", _DATA, "Tokens per sequence for models; by default as in the first run.")
]

RunFolder = Annotated[Path, typer.Argument(help="A run folder of any kind.", metavar="RUN")]
Format = Annotated[
    str, _option("--format", _OUTPUT, "What to write, separated by commas: figures, report.pdf, report.html.",
                 "png,pdf,html")
]  # fmt: skip
ReportOut = Annotated[
    Path | None, _option("--out", _OUTPUT, "Folder for the report; by default the run folder itself.")
]
ReportForce = Annotated[bool, _option("--force", _OUTPUT, "Write into an existing folder, over an older report.")]

# track
Checkpoints = Annotated[
    str,
    typer.Argument(help="A folder of checkpoints of one training run, or with --revisions a Hugging Face model id."),
]
Revisions = Annotated[
    str | None,
    _option("--revisions", _MODEL, "The checkpoints are the Hub model's branches and tags that match.", "PATTERN"),
]
Tokenizer = Annotated[
    str | None, _option("--tokenizer", _MODEL, "Folder or Hub id of the tokenizer; by default the first checkpoint's.")
]
TrackOut = Annotated[Path | None, _option("--out", _OUTPUT, "Folder for the run; by default runs/<name>-track.")]
TrackForce = Annotated[bool, _option("--force", _OUTPUT, "Replace an existing run folder, and start anew.")]
TrackResume = Annotated[
    bool, _option("--resume", _OUTPUT, "Go on with an interrupted track: measure the missing checkpoints only.")
]

# quantize
Models = Annotated[
    list[str],
    typer.Argument(help="Full-precision models: demo, demo-vscale, local folders, or Hugging Face model ids."),
]

# evaluate
Haystack = Annotated[str, _option("--haystack", _NEEDLES, "Text that hides the needles, a source as --data is.")]
Variants = Annotated[
    str, _option("--variants", _NEEDLES, "Kinds of needles, by commas.", "none|single_2,single_3,multikey_1")
]
Lengths = Annotated[
    str | None,
    _option("--lengths", _NEEDLES, "Context lengths in tokens; by default half the context and all of it.", "N,N,..."),
]
Depths = Annotated[int, _option("--depths", _NEEDLES, "Depths from the haystack's start to its end.")]
NeedleSeeds = Annotated[int, _option("--seeds", _NEEDLES, "Needles per kind, length and depth.")]
NewTokens = Annotated[
    int | None, _option("--new-tokens", _NEEDLES, "Tokens to generate; by default the value's and 16 more.")
]
Documents = Annotated[int, _option("--documents", _PERPLEXITY, "Documents to score, the first of the source.")]
Characters = Annotated[int, _option("--characters", _PERPLEXITY, "Where each document is cut.")]
Window = Annotated[
    int | None, _option("--window", _PERPLEXITY, "Tokens read at once; by default the context, at most 2048.")
]
Stride = Annotated[
    int | None, _option("--stride", _PERPLEXITY, "Tokens scored per window; by default half of the window.")
]
NoPerplexity = Annotated[bool, _option("--no-perplexity", _PERPLEXITY, "Measure no perplexity.")]
Tasks = Annotated[
    str | None,
    _option("--tasks", _TASKS, "Tasks of lm-evaluation-harness, by commas; paper stands for arXiv:2603.17771's."),
]
TasksPath = Annotated[str | None, _option("--tasks-path", _TASKS, "Folder with task definitions of your own.")]
Limit = Annotated[int | None, _option("--limit", _TASKS, "Samples per task; by default all.")]
Yarn = Annotated[float | None, _option("--yarn", _MODEL, "Extend the context by this factor with YaRN, in memory.")]
EvaluationSeed = Annotated[int, _option("--seed", _OUTPUT, "Seed of needles and bootstrap.")]
EvaluationOut = Annotated[
    Path | None, _option("--out", _OUTPUT, "Folder for the run; by default runs/<model>-evaluation.")
]

# plan
PlanSpill = Annotated[
    Path | None, _option("--spill", _MEASURE, "Folder whose disk would hold the states between layers.", "DIR")
]
PlanJson = Annotated[bool, _option("--json", _OUTPUT, "Print the plan as JSON on stdout, and nothing else.")]

# families
FamiliesJson = Annotated[bool, _option("--json", _OUTPUT, "Print the list as JSON.")]
