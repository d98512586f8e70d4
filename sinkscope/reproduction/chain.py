"""The stages after the trainings, in order: which verb measures what, on the same windows for all models.

DIR/train/RECIPE/seed-N     trainings, as `sinkscope pretrain RECIPE --seeds N --out DIR/train/RECIPE` makes them
DIR/analyze/RECIPE-seed-N   every model
DIR/track/RECIPE-seed-N     the checkpoints of the first seed
DIR/quantize/seed-N         the trio of a seed side by side
DIR/evaluate/...            baseline and V-scale of the first seed, as they are and under static INT8
DIR/compare                 the trio, seeds as pairs
DIR/report                  the claims and their verdicts
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sinkscope.analysis.run import run_analysis
from sinkscope.analysis.settings import AnalysisRequest
from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.comparison.run import Comparison
from sinkscope.evaluation.run import run_evaluation
from sinkscope.evaluation.settings import EvaluationRequest, EvaluationSettings
from sinkscope.inputs import ModelSource, Output, TextSource, Windows
from sinkscope.quantization.run import run_quantization
from sinkscope.quantization.settings import QuantizationRequest, QuantizationSettings
from sinkscope.reproduction.claim import BASELINE, VSCALE
from sinkscope.reproduction.measures import DOWN, DYNAMIC, NONE, STATIC
from sinkscope.reproduction.stages import Stage
from sinkscope.results import Result
from sinkscope.tables.run_folder import read_run
from sinkscope.tracking.run import run_track
from sinkscope.tracking.settings import CheckpointSource, TrackRequest
from sinkscope.training.training_folder import CHECKPOINTS

METHODS = (NONE, DYNAMIC, STATIC, DOWN)
EVALUATED = (None, STATIC)
TRACKED_SEQUENCES = 8
TRAIN = "train"
ANALYZE, TRACK, QUANTIZE, EVALUATE, COMPARE, REPORT = "analyze", "track", "quantize", "evaluate", "compare", "report"
_PASS = 2.0  # an analysis, in passes forward and back
_FORWARD = 1 / 3


@dataclass(frozen=True)
class Subjects:
    """The models that are measured, and how.

    Attributes:
        place: the reproduction's folder.
        models: a model by role and seed, the seeds by their numbers.
        titles: what a role's runs are called in folders: the recipe's name.
        text: what all read.
        windows: in which pieces.
        needles: per kind, length and depth.
        documents: whose perplexity is measured; 0 evaluates nothing.
        trained: whether the models were trained here, so that there are checkpoints.
        checkpoints: how many a training leaves, about.
    """

    place: Path
    models: Mapping[str, Mapping[int, ModelSource]]
    titles: Mapping[str, str]
    text: TextSource
    windows: Windows
    needles: int = 0
    documents: int = 0
    trained: bool = True
    checkpoints: int = 0

    @property
    def seeds(self) -> tuple[int, ...]:
        """The numbers of the seeds, the same for every role."""
        return tuple(self.models[BASELINE])

    def run_of(self, role: str, seed: int) -> str:
        """The last part of the name of a model's stages."""
        return f"{self.titles[role]}-seed-{seed}" if self.trained else self.titles[role]


def chain(subjects: Subjects) -> list[Stage]:
    """All stages but the report, each behind those that it reads."""
    analyses = [_analysis(subjects, role, seed) for seed in subjects.seeds for role in subjects.models]
    stages = [*analyses]
    first = subjects.seeds[0]
    if subjects.trained:
        stages += [_track(subjects, role, first) for role in subjects.models]
    stages += [_quantization(subjects, seed) for seed in subjects.seeds]
    if subjects.documents:
        roles = [role for role in (BASELINE, VSCALE) if role in subjects.models]
        stages += [_evaluation(subjects, role, first, method) for role in roles for method in EVALUATED]
    if len(subjects.models) > 1:
        stages.append(_comparison(subjects, analyses))
    return stages


def trainings_name(subjects: Subjects, role: str) -> str:
    """The folder of the trainings of a model, a folder per seed in it."""
    return f"{TRAIN}/{subjects.titles[role]}"


def analysis_name(subjects: Subjects, role: str, seed: int) -> str:
    """The name of the stage that analyzes a model."""
    return f"{ANALYZE}/{subjects.run_of(role, seed)}"


def quantization_name(subjects: Subjects, seed: int) -> str:
    """The name of the stage that quantizes the models of a seed."""
    return f"{QUANTIZE}/seed-{seed}" if subjects.trained else f"{QUANTIZE}/{subjects.titles[BASELINE]}"


def evaluation_name(subjects: Subjects, role: str, seed: int, method: str | None) -> str:
    """The name of the stage that evaluates a model under a method."""
    return f"{EVALUATE}/{subjects.run_of(role, seed)}{'' if method is None else f'-{method}'}"


def track_name(subjects: Subjects, role: str, seed: int) -> str:
    """The name of the stage that tracks a training."""
    return f"{TRACK}/{subjects.run_of(role, seed)}"


def _inputs(*models: ModelSource) -> tuple[Path, ...]:
    """The folders among models, whose files a stage depends on; the Hub and GGUF files are known by their names."""
    return tuple(Path(model.name) for model in models if Path(model.name).is_dir())


def _measured(subjects: Subjects, *models: ModelSource) -> dict[str, object]:
    return {
        "models": [model.as_json() for model in models],
        "text": subjects.text.as_json(),
        "windows": subjects.windows.as_json(),
    }


def _analysis(subjects: Subjects, role: str, seed: int) -> Stage:
    model, name = subjects.models[role][seed], analysis_name(subjects, role, seed)

    def work(output: Output) -> Result:
        return run_analysis(AnalysisRequest(model, subjects.text, subjects.windows, output=output))

    command = _command(subjects, "analyze", name, [model.name], model)
    passes = _PASS * subjects.windows.count
    return Stage(name, _measured(subjects, model), _inputs(model), work, command, passes)


def _track(subjects: Subjects, role: str, seed: int) -> Stage:
    model, name = subjects.models[role][seed], track_name(subjects, role, seed)
    training = Path(model.name).parent
    windows = replace(subjects.windows, sequences=min(TRACKED_SEQUENCES, subjects.windows.count))
    checkpoints = sorted(path.name for path in (training / CHECKPOINTS).glob("*")) if training.is_dir() else []

    def work(output: Output) -> Result:
        source = CheckpointSource(str(training))
        return run_track(TrackRequest(source, text=subjects.text, windows=windows, output=output))

    request = {**_measured(subjects, model), "windows": windows.as_json(), "checkpoints": checkpoints}
    command = _command(replace(subjects, windows=windows), "track", name, [str(training)], model)
    passes = _PASS * windows.count * (max(len(checkpoints), subjects.checkpoints) + 1)
    return Stage(name, request, _inputs(model), work, command, passes)


def _quantization(subjects: Subjects, seed: int) -> Stage:
    models = tuple(models[seed] for models in subjects.models.values())
    name = quantization_name(subjects, seed)
    settings = QuantizationSettings(methods=METHODS, rank_sequences=0)

    def work(_: Output) -> Result:
        return run_quantization(QuantizationRequest(models, subjects.text, subjects.windows, settings))

    request = {**_measured(subjects, *models), "methods": list(METHODS)}
    options = ["--methods", ",".join(METHODS), "--rank-sequences", "0"]
    command = _command(subjects, "quantize", name, [model.name for model in models], models[0], options)
    passes = _FORWARD * subjects.windows.count * len(models) * (len(METHODS) + 2)
    return Stage(name, request, _inputs(*models), work, command, passes, spared=not subjects.trained)


def _evaluation(subjects: Subjects, role: str, seed: int, method: str | None) -> Stage:
    model, name = subjects.models[role][seed], evaluation_name(subjects, role, seed, method)
    needles: dict[str, object] = {"variants": ()}
    if subjects.needles:
        needles = {"lengths": (subjects.windows.tokens,), "seeds": subjects.needles}
    settings = EvaluationSettings(documents=subjects.documents, **needles)  # type: ignore[arg-type]
    windows = Windows(bos=subjects.windows.bos, batch_size=subjects.windows.batch_size)

    def work(_: Output) -> Result:
        source = replace(model, quantize=method)
        return run_evaluation(EvaluationRequest(source, text=subjects.text, windows=windows, settings=settings))

    request = {**_measured(subjects, model), "settings": asdict(settings), "method": method}
    words = [model.name, *_text_options(subjects), "--bos", windows.bos, "--batch-size", str(windows.batch_size)]
    words += ["--documents", str(subjects.documents)]
    words += ["--lengths", str(subjects.windows.tokens), "--seeds", str(subjects.needles)] if subjects.needles else [
        "--variants", "none"]  # fmt: skip
    words += ["--quantize", method] if method is not None else []
    command = shlex.join(["sinkscope", "evaluate", *words, "--out", str(subjects.place / name)])
    return Stage(name, request, _inputs(model), work, command, 2.0 * subjects.documents * 2**13 / 4 / 128 * _FORWARD)


def _comparison(subjects: Subjects, analyses: list[Stage]) -> Stage:
    paired = len(subjects.seeds) > 1
    folders = {
        role: [subjects.place / analysis_name(subjects, role, seed) for seed in subjects.seeds]
        for role in subjects.models
    }
    every = [(role, folder) for role, own in folders.items() for folder in own]

    def work(_: Output) -> Result:
        runs, names = [read_run(folder) for _, folder in every], [role for role, _ in every]
        return Comparison(compare_runs(runs, names, paired_seeds=paired))

    named = [f"{role}={','.join(map(str, own))}" for role, own in folders.items()]
    options = ["--paired-seeds"] if paired else []
    command = shlex.join(["sinkscope", "compare", *named, *options, "--out", str(subjects.place / COMPARE)])
    request = {"runs": [[role, stage.name] for (role, _), stage in zip(every, analyses, strict=True)]}
    return Stage(COMPARE, request, tuple(folder for _, folder in every), work, command, 0.0)


def _command(
    subjects: Subjects, verb: str, name: str, named: list[str], model: ModelSource, options: list[str] | None = None
) -> str:
    """What to type for the same run."""
    windows = subjects.windows
    words = ["sinkscope", verb, *named, *(options or []), *_text_options(subjects), "--bos", windows.bos,
             "--sequences", str(windows.count), "--batch-size", str(windows.batch_size)]  # fmt: skip
    words += ["--tokens", str(windows.tokens)] if windows.tokens is not None else []
    plain = ModelSource()
    for field, flag in (("revision", "--revision"), ("gguf_file", "--gguf-file"), ("dtype", "--dtype"),
                        ("device", "--device")):  # fmt: skip
        if getattr(model, field) != getattr(plain, field):
            words += [flag, str(getattr(model, field))]
    return shlex.join([*words, "--out", str(subjects.place / name)])


def _text_options(subjects: Subjects) -> list[str]:
    text, plain = subjects.text, TextSource()
    words = ["--data", text.data]
    for field in ("config", "split", "column"):
        if getattr(text, field) != getattr(plain, field):
            words += [f"--data-{field}", str(getattr(text, field))]
    return [*words, *(["--data-streaming"] if text.streaming else [])]
