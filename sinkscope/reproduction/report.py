"""The last stage: from the runs of all others to one run of kind `reproduction`, with the verdicts first."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sinkscope.comparison.compare_runs import CONVENTIONS as COMPARED
from sinkscope.comparison.stacked import stacked
from sinkscope.inputs import Output
from sinkscope.provenance.begin import TABLE_LIBRARIES, begin, library_versions
from sinkscope.provenance.checkout import commit_here
from sinkscope.reproduction import chain
from sinkscope.reproduction.beside import beside_paper
from sinkscope.reproduction.chain import Subjects
from sinkscope.reproduction.claim import BASELINE
from sinkscope.reproduction.differences import of_measuring, of_one_model, of_training
from sinkscope.reproduction.judge import claims_table, judged, tests_table, values_table
from sinkscope.reproduction.measures import NONE, STATIC, Seed
from sinkscope.reproduction.pathways import pathways
from sinkscope.reproduction.readme import readme
from sinkscope.reproduction.stages import Stage, left_out
from sinkscope.reproduction.trainings import tracked, trainings
from sinkscope.results import Result
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run, read_run
from sinkscope.training.recipe import Recipe
from sinkscope.training.training_folder import METRICS

README = "README.md"


class Reproduction(Result):
    """A finished reproduction: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`."""

    def add_files(self, folder: Path) -> None:
        """Every table as CSV too, a README, and the report."""
        for name, table in self.tables.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        (folder / README).write_text(readme(self.run), encoding="utf-8")
        super().add_files(folder)


@dataclass(frozen=True)
class Trained:
    """How the trio was trained.

    Attributes:
        scale: its name.
        recipe: of the baseline.
        asked: the recipes as they were asked for, by model.
    """

    scale: str
    recipe: Recipe
    asked: dict[str, str]


def report_stage(subjects: Subjects, trained: Trained | None, stages: Sequence[Stage], command: str) -> Stage:
    """The stage that writes the report.

    Args:
        subjects: what was measured.
        trained: how the models were trained; None where they were not.
        stages: all before.
        command: that makes the whole reproduction.
    """
    place = subjects.place
    metrics = tuple(
        Path(model.name).parent for models in subjects.models.values() for model in models.values()
    ) if subjects.trained else ()  # fmt: skip

    def work(_: Output) -> Result:
        return Reproduction(_run(subjects, trained, stages))

    request = {"stages": [[each.name, each.command] for each in stages], "trainings": [str(each) for each in metrics]}
    folders = tuple(place / each.name for each in stages)
    return Stage(chain.REPORT, request, folders, work, command, 0.0)


def _run(subjects: Subjects, trained: Trained | None, stages: Sequence[Stage]) -> Run:
    place, numbers = subjects.place, subjects.seeds
    seeds = [_seed(subjects, number) for number in numbers]
    analyses = [(role, run) for role in subjects.models for run in (seed.analyses[role] for seed in seeds)]
    results = judged(seeds, trained=trained is not None)
    evaluations = {
        (role, method or NONE): read_run(folder)
        for role in subjects.models
        for method in (None, STATIC)
        if (folder := place / chain.evaluation_name(subjects, role, numbers[0], method)).is_dir()
    }
    metrics = {
        role: [Path(model.name).parent / METRICS for model in models.values()]
        for role, models in subjects.models.items()
        if subjects.trained
    }
    finished = trainings(metrics, numbers)
    tracks = {
        role: read_run(place / chain.track_name(subjects, role, numbers[0]))
        for role in subjects.models
        if subjects.trained
    }
    first = seeds[0].analyses[BASELINE]
    compared = read_run(place / chain.COMPARE) if len(subjects.models) > 1 else None
    which = [list(range(len(numbers)))[place % len(numbers)] for place in range(len(analyses))]
    figures = compared.tables if compared else stacked([run for _, run in analyses], [r for r, _ in analyses], which)
    tables = {
        "claims": claims_table(results),
        "tests": tests_table(results),
        "seed_values": values_table(results, numbers),
        "beside_paper": beside_paper(seeds, finished, evaluations),
        "trainings": finished,
        "pathways": pathways(seeds),
        "first_steps": _first_steps(tracks),
        "tracked": tracked(tracks),
        "stages": _stages(subjects, trained, stages),
        **figures,
    }
    info = begin(
        "reproduction",
        scale=None if trained is None else trained.scale,
        reference=BASELINE,
        runs=[
            {"name": role, "seeds": len(numbers), "layers": run.info["model"]["layers"],
             "recipe": subjects.titles[role]}
            for role, run in zip(subjects.models, (seeds[0].analyses[role] for role in subjects.models), strict=True)
        ],
        data={key: first.info["data"][key] for key in ("source", "sequences", "tokens")},
        trained=None if trained is None else _trained(trained, subjects, first),
        mismatches=[] if compared is None else compared.info["mismatches"],
        paired=True if compared is None else compared.info["paired"],
        layers_differ=False,
        notes=_notes(trained, subjects, seeds[0]),
        commit=commit_here(),
        settings={"backward": first.backward, "seeds": len(numbers)},
        conventions={"verdicts": "docs/claims.md", "level": COMPARED["level"]},
        versions=_versions(first),
        headline={name: one.verdict for name, one in results.items()},
    )  # fmt: skip
    return Run(info, tables)


def _seed(subjects: Subjects, number: int) -> Seed:
    analyses = {
        role: read_run(subjects.place / chain.analysis_name(subjects, role, number)) for role in subjects.models
    }
    names = {role: models[number].name for role, models in subjects.models.items()}
    stage = chain.quantization_name(subjects, number)
    if reason := left_out(stage, subjects.place):
        return Seed(analyses, None, names, reason)
    return Seed(analyses, read_run(subjects.place / stage), names)


def _first_steps(tracks: Mapping[str, Run]) -> pd.DataFrame:
    rows = Rows("first_steps")
    for role, track in tracks.items():
        for row in track["appearances"].to_dict("records"):
            rows.add(model=role, phenomenon=str(row["phenomenon"]), first_step=_whole(row["first_step"]),
                     lasting_step=_whole(row["lasting_step"]))  # fmt: skip
    return rows.frame()


def _whole(step: Any) -> int | None:
    return None if pd.isna(step) else int(step)


def _stages(subjects: Subjects, trained: Trained | None, stages: Sequence[Stage]) -> pd.DataFrame:
    rows = Rows("stages")
    for role, asked in {} if trained is None else trained.asked.items():
        folder = chain.trainings_name(subjects, role)
        words = ["sinkscope", "pretrain", asked, "--seeds", str(len(subjects.seeds)), "--out"]
        rows.add(stage=folder, command=shlex.join([*words, str(subjects.place / folder)]))
    for each in (each for each in stages if not left_out(each.name, subjects.place)):
        rows.add(stage=each.name, command=each.command)
    return rows.frame()


def _parameters(subjects: Subjects) -> int:
    """Of the baseline, from the head of its weights: nothing is loaded."""
    from safetensors import safe_open

    folder = Path(next(iter(subjects.models[BASELINE].values())).name)
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118  (no mapping)
                count = 1
                for size in weights.get_slice(name).get_shape():
                    count *= size
                total += count
    return total


def _trained(trained: Trained, subjects: Subjects, first: Run) -> dict[str, Any]:
    recipe = trained.recipe
    return {
        "parameters": _parameters(subjects),
        "layers": first.info["model"]["layers"],
        "steps": recipe.schedule.steps,
        "batch": recipe.optimizer.batch_sequences,
        "context": recipe.data.tokens,
        "rate": recipe.optimizer.lr,
        "text": recipe.data.source,
    }


def _notes(trained: Trained | None, subjects: Subjects, first: Seed) -> list[str]:
    about = of_one_model()
    if trained is not None:
        about = of_training(trained.recipe, _parameters(subjects), len(subjects.seeds))
    unquantized = first.unquantized if first.quantized is None else ""
    data = first.analyses[BASELINE].info["data"]
    return [*about, *of_measuring(data, needles=bool(subjects.needles), unquantized=unquantized)]


def _versions(first: Run) -> dict[str, str]:
    measured = {name: str(version) for name, version in first.info["versions"].items()}
    return {**measured, **library_versions(TABLE_LIBRARIES)}
