"""`sinkscope pretrain`: from a recipe to a trained model, or to one per seed."""

from sinkscope.cli import options
from sinkscope.cli.output import tell_training, training_resumable
from sinkscope.launch.collector import importing
from sinkscope.launch.environment import is_main_process
from sinkscope.progress.display import ended
from sinkscope.terminal import tell


def pretrain(
    recipe: options.Recipe,
    out: options.TrainingOut,
    set_: options.Set = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    seeds: options.Seeds = 1,
    monitor: options.Monitor = None,
    tokens_dir: options.TokensDir = None,
    log_to: options.LogTo = None,
    resume: options.Resume = False,
) -> None:
    """Train a model from scratch by a recipe."""
    from sinkscope.errors import RequestError
    from sinkscope.pretraining.shipped_recipes import find_recipe, parse_overrides
    from sinkscope.training.recipe import load_recipe

    if seeds < 1:
        raise RequestError("`seeds` must be at least 1")
    overrides = parse_overrides(set_ or [])
    given = (("schedule.steps", steps), ("seed", seed), ("monitor", monitor))
    overrides |= {key: value for key, value in given if value is not None}
    plan = load_recipe(find_recipe(recipe), overrides)

    with importing():
        from sinkscope.pretraining.run import pretrain as train
        from sinkscope.pretraining.run import pretrain_seeds

    with training_resumable(out):
        if seeds == 1:
            models = [train(plan, out, resume=resume, tokens=tokens_dir, log_to=log_to)]
        else:
            models = pretrain_seeds(plan, out, seeds, resume=resume, tokens=tokens_dir, log_to=log_to)
    ended()
    if is_main_process():
        for model in models:
            tell(f"model: {model}")
            tell_training(model.parent)
