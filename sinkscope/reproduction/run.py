"""From nothing to the report: train the trio, measure every model, test every claim.

Trainings go seed by seed, the three models of a seed one after another, so that whatever is finished is a pair. Started
by a launcher, all processes train and the first one does the rest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sinkscope.durations import duration_text
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.owner import owned
from sinkscope.inputs import DEFAULT_SEQUENCES, TextSource, Windows
from sinkscope.launch.environment import is_main_process
from sinkscope.loading.device import usable_device
from sinkscope.pretraining.run import pretrain_seeds
from sinkscope.progress.display import say, showing
from sinkscope.reproduction.chain import REPORT, TRAIN, Subjects, chain, trainings_name
from sinkscope.reproduction.claim import BASELINE
from sinkscope.reproduction.costs import FINISHED, Cost, costs
from sinkscope.reproduction.report import Trained, report_stage
from sinkscope.reproduction.scales import Scale, scale_of
from sinkscope.reproduction.settings import ReproductionRequest
from sinkscope.reproduction.stages import NOTES, Stage, is_finished, settle
from sinkscope.runs import Run, read_run
from sinkscope.text.sources import open_text
from sinkscope.training.recipe import Recipe
from sinkscope.training.training_folder import MODEL, TOKENS

_COMMAND = "a program"


@dataclass(frozen=True)
class Plan:
    """What a request comes to.

    Attributes:
        subjects: the models to be measured.
        trained: how they are trained; None where they are not.
        recipes: by model of the trio; empty where nothing is trained.
    """

    subjects: Subjects
    trained: Trained | None
    recipes: dict[str, Recipe]

    def trainings(self) -> Iterator[tuple[str, int, Path]]:
        """Model of the trio, seed and folder of every training, seed by seed."""
        for seed in self.subjects.seeds if self.trained else ():
            for role in self.recipes:
                yield role, seed, self.subjects.place / trainings_name(self.subjects, role) / f"seed-{seed}"

    def stages(self, command: str) -> list[Stage]:
        """All stages behind the trainings, the report last."""
        stages = chain(self.subjects)
        return [*stages, report_stage(self.subjects, self.trained, stages, command)]


@showing
def reproduce(
    request: ReproductionRequest,
    scale: Scale | None = None,
    *,
    progress: bool | None = None,  # noqa: ARG001  (read by `showing`)
) -> Path | None:
    """Makes a reproduction, or goes on with one.

    Args:
        request: what is asked for.
        scale: a scale of one's own, instead of the named one.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.

    Returns:
        The folder of the report; None in all but the first of several processes.

    Raises:
        SinkscopeError: for bad input, or what a stage refuses, in one line.
    """
    plan = planned(request, scale)
    place = plan.subjects.place
    with _resumable(), owned(place, here=is_main_process()):
        if is_main_process():  # the others would see what it has begun to write
            _refuse_other(place, resume=request.place.resume)
        trainings = list(plan.trainings())
        for number, (role, seed, folder) in enumerate(trainings, start=1):
            recipe = replace(plan.recipes[role], seed=seed)
            if not (folder / MODEL).is_dir():
                say(f"training {recipe.name}, seed {seed}")
            more = number < len(trainings)
            pretrain_seeds(recipe, folder.parent, 1, resume=True, tokens=place / TRAIN / TOKENS, more=more)
        if not is_main_process():
            return None
        stages = plan.stages(request.command or _COMMAND)
        for number, stage in enumerate(stages, start=1):
            if not is_finished(stage, place):
                say(f"stage {number} of {len(stages)}: {stage.name}")
                if reason := settle(stage, place):
                    say(f"{stage.name} is left out, and its claims are not testable: {reason}")
    return place / REPORT


def forecast(request: ReproductionRequest, scale: Scale | None = None) -> list[Cost]:
    """Every training and stage with what it would take here; nothing is made.

    Args:
        request: as of `reproduce`.
        scale: as of `reproduce`.
    """
    plan = planned(request, scale)
    trainings = [(role, folder) for role, _, folder in plan.trainings()]
    return costs(plan.recipes, trainings, plan.stages(request.command or _COMMAND), plan.subjects.place)


def forecast_lines(listed: list[Cost]) -> list[str]:
    """A forecast for the terminal: a line per stage, and the sum."""
    to_do = [cost for cost in listed if cost.state != FINISHED]
    known = [cost.seconds for cost in to_do if cost.seconds is not None]
    parts = [f"{len(to_do)} of {len(listed)} to do"]
    if known:
        parts.append(f"about {duration_text(sum(known))} of passes, besides text, tables and figures")
    if len(known) < len(to_do):
        parts.append(f"{len(to_do) - len(known)} of unknown time")
    return [*(f"{cost.name}: {_takes(cost)}" for cost in listed), "; ".join(parts)]


def _takes(cost: Cost) -> str:
    if cost.state == FINISHED:
        return FINISHED
    if cost.seconds == 0:
        return "no passes"
    return "unknown time" if cost.seconds is None else f"about {duration_text(cost.seconds)}"


def read_report(place: Path) -> Run:
    """The report of a finished reproduction."""
    return read_run(place / REPORT)


def planned(request: ReproductionRequest, scale: Scale | None = None) -> Plan:
    """The models, windows and recipes that a request comes to.

    Raises:
        RequestError: for an unknown scale, or recipes that are no trio.
    """
    subject, place = request.subject, request.place.out.expanduser()
    if subject.scale is None and scale is None:
        return _on_a_model(request, place)
    chosen = scale or scale_of(subject.scale or "")
    recipes = chosen.loaded()
    first = recipes[BASELINE]
    usable_device(request.model.device)  # hours before it is needed
    if subject.tokens is not None and subject.tokens > first.data.tokens:
        raise RequestError(
            f"{subject.tokens} tokens exceed the {first.data.tokens} of '{first.name}': use fewer `tokens`"
        )
    if subject.data is not None:
        open_text(TextSource(subject.data))
    count = subject.seeds or chosen.seeds
    seeds = range(first.seed, first.seed + count)
    text = first.data.text(first.data.valid_split)
    windows = Windows(
        bos=first.data.bos,
        sequences=subject.sequences or chosen.sequences,
        tokens=subject.tokens or first.data.tokens,
        batch_size=chosen.batch_size,
    )
    models = {
        role: {
            seed: replace(request.model, name=str(place / TRAIN / recipe.name / f"seed-{seed}" / MODEL))
            for seed in seeds
        }
        for role, recipe in recipes.items()
    }
    names = {role: recipe.name for role, recipe in recipes.items()}
    asked = dict(zip(recipes, chosen.recipes, strict=True))
    subjects = Subjects(
        place=place,
        models=models,
        titles=names,
        text=text if subject.data is None else TextSource(subject.data),
        windows=windows,
        needles=chosen.needles,
        documents=chosen.documents,
        checkpoints=first.schedule.steps // first.checkpoint.every,
    )
    return Plan(subjects, Trained(chosen.name, first, asked), recipes)


def _on_a_model(request: ReproductionRequest, place: Path) -> Plan:
    subject = request.subject
    name = subject.on or ""
    model = replace(request.model, name=name)
    windows = Windows(sequences=subject.sequences or DEFAULT_SEQUENCES, tokens=subject.tokens)
    title = Path(name).stem if Path(name).suffix == ".gguf" else Path(name).name
    text = TextSource() if subject.data is None else TextSource(subject.data)
    subjects = Subjects(place, {BASELINE: {0: model}}, {BASELINE: title}, text, windows, trained=False)
    return Plan(subjects, None, {})


def _refuse_other(place: Path, *, resume: bool) -> None:
    """Refuses a folder that holds something, unless it is a reproduction that may go on."""
    if not place.exists() and not place.is_symlink():
        return
    if not place.is_dir():
        raise RequestError(f"{place} exists and is not a folder: choose another `out`")
    ours = _is_reproduction(place)
    if not ours and _seen(place):
        raise RequestError(f"{place} is not empty and holds no reproduction: choose another `out`")
    if ours and not resume:
        raise RequestError(f"{place} holds a reproduction: `resume` to go on with it, or choose another `out`")


def _is_reproduction(place: Path) -> bool:
    """Whether a folder has the notes of stages, or trainings as they are made here; other data has a `train`, too."""
    notes, trainings = place / NOTES, place / TRAIN
    if notes.is_dir() and all(path.suffix == ".json" for path in _seen(notes)):
        return True
    return trainings.is_dir() and all(
        path.is_dir() and (path.name == TOKENS or all(_of_recipe(each.name) for each in _seen(path)))
        for path in _seen(trainings)
    )


def _of_recipe(name: str) -> bool:
    """Whether that lies in a recipe's folder: a seed's training, or the tokens that `pretrain` keeps beside it."""
    return name.startswith("seed-") or name == TOKENS


def _seen(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


@contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise SinkscopeError("interrupted: the same command with `resume` goes on from here") from error
