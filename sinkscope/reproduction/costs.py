"""What the stages would take on this machine, without making any of them.

A micro-batch of the scale's baseline is tried, freshly initialized, as the plan of a training tries it; the passes of
all trainings and stages are counted in it. Generation and whatever is not a pass (tables, figures, reading text) is
not in it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import set_seed

from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import load_tokenizer
from sinkscope.reproduction.stages import Stage, is_finished
from sinkscope.training.engine import make_accelerator, prepare, shares
from sinkscope.training.new_model import build_optimizer, model_for, refuse_too_large
from sinkscope.training.plan import passes_of_training, seconds_of_pass
from sinkscope.training.recipe import Recipe

FINISHED, TO_DO = "finished", "to do"


@dataclass(frozen=True)
class Cost:
    """A stage and what it takes.

    Attributes:
        name: of the stage.
        state: `FINISHED` or `TO_DO`.
        seconds: what it would take; None where that is not known, 0 where it is finished.
    """

    name: str
    state: str
    seconds: float | None


def seconds_per_pass(recipe: Recipe) -> tuple[float, int] | None:
    """Seconds of a micro-batch forward and back, and its windows; None where its tokenizer cannot be loaded."""
    accelerator = make_accelerator(precision=recipe.precision)
    refuse_too_large(recipe)
    _, micro = shares(recipe.optimizer, accelerator.num_processes)
    try:
        vocabulary = _vocabulary(recipe)
    except SinkscopeError:
        return None
    set_seed(recipe.seed)
    model = model_for(recipe, vocabulary, 0, 1)
    engine = prepare(accelerator, model, build_optimizer(model, recipe.optimizer), recipe.optimizer)
    ids = torch.randint(vocabulary, (micro, recipe.data.tokens), generator=torch.Generator().manual_seed(0))
    seconds_of_pass(engine, ids, recipe.data.tokens)  # loads kernels and takes memory, which hours of passes do once
    return seconds_of_pass(engine, ids, recipe.data.tokens), micro


def costs(
    recipes: Mapping[str, Recipe], trainings: Iterable[tuple[str, Path]], stages: Iterable[Stage], place: Path
) -> list[Cost]:
    """Every training and stage, in order.

    Args:
        recipes: by model of the trio, the baseline first; empty where nothing is trained.
        trainings: the model of the trio and the folder of each.
        stages: behind the trainings.
        place: the reproduction's folder.
    """
    tried = seconds_per_pass(next(iter(recipes.values()))) if recipes else None
    listed = []
    for role, folder in trainings:
        recipe = recipes[role]
        done = (folder / "model").is_dir()
        seconds = None
        if tried is not None:
            share, micro = shares(recipe.optimizer, 1)
            seconds = passes_of_training(recipe, share, micro, recipe.data.valid_sequences) * tried[0]
        listed.append(Cost(folder.relative_to(place).as_posix(), *_state(done, seconds)))
    for stage in stages:
        done = is_finished(stage, place)
        window = None if tried is None else tried[0] / tried[1]
        listed.append(Cost(stage.name, *_state(done, None if window is None else stage.passes * window)))
    return listed


def _state(done: bool, seconds: float | None) -> tuple[str, float | None]:
    return (FINISHED, 0.0) if done else (TO_DO, seconds)


def _vocabulary(recipe: Recipe) -> int:
    """Words of the recipe's tokenizer, trained or not."""
    if recipe.tokenizer.name is not None:
        return len(load_tokenizer(recipe.tokenizer.name))
    assert recipe.tokenizer.vocab_size is not None  # noqa: S101  (a recipe gives one of the two)
    return recipe.tokenizer.vocab_size
