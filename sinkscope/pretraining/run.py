"""Pretraining: from a recipe to a model, a folder per seed."""

from dataclasses import asdict, replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import set_seed

from sinkscope.errors import RequestError
from sinkscope.files.owner import owned
from sinkscope.progress.display import stage
from sinkscope.training.checkpoint import check_checkpoint_room, load_state, take_up_
from sinkscope.training.corpus import Corpus, hash_of_text, prepare_corpus
from sinkscope.training.engine import make_accelerator, prepare, shares
from sinkscope.training.loop import train
from sinkscope.training.new_model import build_model, build_optimizer, recompute_activations_, refuse_too_large
from sinkscope.training.recipe import Recipe
from sinkscope.training.repeatable import repeatable
from sinkscope.training.save import finish, whole_saver
from sinkscope.training.trackers import start_tracker
from sinkscope.training.training_folder import MODEL, SETTINGS, TOKENS, claimed, hold_to


def pretrain(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    tokens: Path | None = None,
    log_to: str | None = None,
    trainings: int = 1,
    more: bool = False,
) -> Path:
    """Trains a recipe from scratch.

    Args:
        recipe: the experiment.
        out: a folder that gets `model/`, `checkpoints/` and `metrics.parquet`.
        resume: continue from the newest checkpoint below `out`, or from step 0 where there is none.
        tokens: where tokenized text is kept, to be shared between runs; `out/tokens` by default.
        log_to: also log to this tracker.
        trainings: alike that are to come, this one included, for the plan.
        more: whether this process trains again afterwards, so that several processes stay together.

    Returns:
        The folder of the finished model.

    Raises:
        SinkscopeError: if `out` holds a run and `resume` is off, if it holds a run of another recipe, or if the loss
            stops being finite.
    """
    accelerator = make_accelerator(precision=recipe.precision, log_to=log_to, folder=str(out))
    shares(recipe.optimizer, accelerator.num_processes)
    refuse_too_large(recipe)
    with owned(out, here=accelerator.is_main_process):
        return _pretrained(recipe, out, accelerator, tokens or out / TOKENS, trainings, resume=resume, more=more)


def _pretrained(
    recipe: Recipe, out: Path, accelerator: Accelerator, tokens: Path, trainings: int, *, resume: bool, more: bool
) -> Path:
    with claimed(out, asdict(recipe), accelerator, resume=resume):
        if (out / MODEL).is_dir():
            return out / MODEL
        stage("reading text")
        text = hash_of_text(recipe.data)
        hold_to({"text": text}, out, accelerator)
        corpus = prepare_corpus(
            recipe.data,
            recipe.tokenizer,
            tokens,
            accelerator,
            windows=recipe.schedule.steps * recipe.optimizer.batch_sequences,
            text=text,
        )
    start_tracker(accelerator, asdict(recipe))
    _train(recipe, corpus, out, accelerator, trainings)
    if more:  # ending a training takes the processes apart for good
        for tracker in accelerator.trackers:
            tracker.finish()
    else:
        accelerator.end_training()
    return out / MODEL


def pretrain_seeds(
    recipe: Recipe,
    out: Path,
    count: int,
    *,
    resume: bool = False,
    tokens: Path | None = None,
    log_to: str | None = None,
    more: bool = False,
) -> list[Path]:
    """Trains a recipe once per seed, from the recipe's own seed on.

    Args:
        recipe: the experiment.
        out: gets a folder `seed-N` per seed, as `pretrain` makes them.
        count: how many seeds.
        resume: go on with what is there; finished seeds are left as they are.
        tokens: as for `pretrain`; `out/tokens` by default.
        log_to: as for `pretrain`.
        more: as for `pretrain`, of the last seed.

    Returns:
        The folders of the finished models.

    Raises:
        SinkscopeError: as `pretrain`, and if `out` itself holds a training.
    """
    if (out / SETTINGS).exists():
        raise RequestError(f"{out} holds a training of one seed: choose another `out`, or leave out `seeds`")
    tokens = tokens or out / TOKENS
    seeds = range(recipe.seed, recipe.seed + count)
    return [
        pretrain(
            replace(recipe, seed=seed),
            out / f"seed-{seed}",
            resume=resume,
            tokens=tokens,
            log_to=log_to,
            trainings=recipe.seed + count - seed,
            more=more or seed < recipe.seed + count - 1,
        )
        for seed in seeds
    ]


def _train(recipe: Recipe, corpus: Corpus, out: Path, accelerator: Accelerator, trainings: int) -> None:
    set_seed(recipe.seed)
    model = build_model(recipe, corpus.tokenizer)
    if recipe.gradient_checkpointing:
        recompute_activations_(model)
    optimizer = build_optimizer(model, recipe.optimizer)
    saver = whole_saver(model, corpus.tokenizer)
    checkpoint, rows = take_up_(out, model, saver, accelerator)
    engine = prepare(accelerator, model, optimizer, recipe.optimizer)
    if checkpoint is not None:
        load_state(checkpoint, engine)
    check_checkpoint_room(out, engine)
    with repeatable(accelerator.device):
        train(recipe, engine, corpus, out, rows=rows, saver=saver, trainings=trainings)
    finish(engine, out, saver)
