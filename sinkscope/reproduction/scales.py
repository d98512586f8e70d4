"""The scales at which the paper can be reproduced: three recipes each, and what is measured of their models.

The recipes are those of the folder `recipes`; a twin differs from its baseline in the valve alone. Text, context and
<bos> of everything that is measured are the recipe's own.
"""

from dataclasses import dataclass

from sinkscope.errors import RequestError
from sinkscope.pretraining.shipped_recipes import find_recipe
from sinkscope.reproduction.claim import TRIO
from sinkscope.training.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class Scale:
    """One scale.

    Attributes:
        name: as it is asked for.
        recipes: of baseline, V-scale and backward-only: names of shipped ones, or TOML files.
        seeds: trainings of each, where none are asked for.
        sequences: windows that every model reads.
        batch_size: of them, per pass.
        needles: needles per kind, length and depth; 0 leaves them out.
        documents: whose perplexity is measured.
    """

    name: str
    recipes: tuple[str, str, str]
    seeds: int
    sequences: int
    batch_size: int
    needles: int = 1
    documents: int = 16

    def loaded(self) -> dict[str, Recipe]:
        """The recipes by model of the trio.

        Raises:
            RequestError: if they are no trio: named alike, or apart in more than the valve.
        """
        recipes = {model: load_recipe(find_recipe(name)) for model, name in zip(TRIO, self.recipes, strict=True)}
        names = [recipe.name for recipe in recipes.values()]
        if len(set(names)) < len(names):
            raise RequestError(f"the recipes of a scale are named apart, not {', '.join(names)}")
        return recipes


def _shipped(name: str, recipe: str, seeds: int, sequences: int, batch_size: int, needles: int = 1) -> Scale:
    return Scale(name, (recipe, f"{recipe}-vscale", f"{recipe}-backward-only"), seeds, sequences, batch_size, needles)


SCALES = {
    scale.name: scale
    for scale in (
        _shipped("mini", "mini", 5, 64, 8),
        _shipped("demo", "demo", 3, 64, 8),
        _shipped("10m", "10m", 3, 128, 8, needles=5),
        _shipped("0.1b", "paper-0.1b", 1, 512, 4, needles=5),
        _shipped("0.3b", "paper-0.3b", 1, 512, 4, needles=5),
        _shipped("1b", "paper-1b", 1, 512, 2, needles=5),
    )
}


def scale_of(name: str) -> Scale:
    """The scale of a name.

    Raises:
        RequestError: for another name; the message lists the scales.
    """
    if name not in SCALES:
        raise RequestError(f"there is no `scale` {name}: choose one of {', '.join(SCALES)}")
    return SCALES[name]
