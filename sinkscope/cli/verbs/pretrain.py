"""`sinkscope pretrain`: from a recipe to a trained model."""

import typer

from sinkscope.cli import options


def pretrain(
    recipe: options.Recipe,
    out: options.TrainingOut,
    set_: options.Set = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    resume: options.Resume = False,
) -> None:
    """Train a model from scratch by a recipe."""
    from sinkscope.config import load_recipe
    from sinkscope.training.recipes import find_recipe, parse_overrides

    overrides = parse_overrides(set_ or [])
    overrides |= {key: value for key, value in (("schedule.steps", steps), ("seed", seed)) if value is not None}
    plan = load_recipe(find_recipe(recipe), overrides)

    from sinkscope.training.loop import pretrain as train

    typer.echo(f"model: {train(plan, out, resume=resume)}")
