"""Tasks of lm-evaluation-harness (Gao et al.) on a model in memory; the library is an optional extra.

The harness does everything: prompts, scoring, metrics, standard errors, with its own defaults, so that numbers compare
with published ones. What is added here: a request that cannot work is refused before a model is loaded, in one line.
"""

import contextlib
import copy
import difflib
import importlib.util
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.tables.builder import Rows

# The tasks of arXiv:2603.17771. It does not say which LAMBADA; OpenAI's is the harness's usual one.
PAPER = (
    "wikitext", "lambada_openai", "arc_easy", "arc_challenge", "boolq", "copa", "hellaswag", "openbookqa", "piqa",
    "sciq", "winogrande",
)  # fmt: skip
SETS = {"paper": PAPER}


@dataclass(frozen=True)
class LoadedTasks:
    """Tasks and groups of the harness with their data, and the harness's index that they come from."""

    items: list[Any]
    index: Any


def load_tasks(names: tuple[str, ...], folder: str | None = None) -> LoadedTasks:
    """Loads tasks with their data, which the harness downloads where it has to.

    Args:
        names: tasks, groups, tags or patterns of the harness, or keys of `SETS`.
        folder: task definitions of one's own. A definition may name Python functions, which then run.

    Raises:
        SinkscopeError: if the harness is not installed, a task is unknown, or its data cannot be loaded.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise SinkscopeError("`tasks` needs lm-evaluation-harness: pip install 'sinkscope[lm-eval]'")
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise RequestError(f"`tasks_path={folder}` is not a folder")
    with _quiet():
        from lm_eval.tasks import TaskManager

        own = None if folder is None else str(Path(folder).expanduser())
        wanted = [name for given in names for name in SETS.get(given, (given,))]
        # Reading the harness's fourteen thousand definitions takes seconds, which one's own tasks need not cost.
        index = TaskManager(include_path=own, include_defaults=False) if own else None
        if index is None or not all(index.match_tasks([name]) for name in wanted):
            index = TaskManager(include_path=own)
        matched = [name for given in wanted for name in _matches(index, given)]
        return LoadedTasks([item for name in dict.fromkeys(matched) for item in _load(index, name)], index)


def run_tasks(
    tasks: LoadedTasks,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    limit: int | None = None,
    batch_size: int = 1,
    draws: int = 1000,
) -> pd.DataFrame:
    """Runs tasks.

    Args:
        tasks: of `load_tasks`.
        model: a causal LM.
        tokenizer: the model's; it needs a <bos> or an <eos>.
        limit: samples per task; None takes all.
        batch_size: requests per forward pass.
        draws: bootstrap samples of the standard errors that have no formula.

    Returns:
        The table `tasks`.
    """
    with _quiet():
        import lm_eval
        from lm_eval.models.huggingface import HFLM

        wrapped = HFLM(pretrained=model, tokenizer=_padded(tokenizer), batch_size=batch_size)
        results = lm_eval.simple_evaluate(
            model=wrapped, tasks=tasks.items, task_manager=tasks.index, limit=limit, log_samples=False,
            bootstrap_iters=draws,
        )  # fmt: skip
    return _table(results)


def _matches(index: Any, name: str) -> list[str]:
    matches = list(index.match_tasks([name]))
    if not matches:
        near = difflib.get_close_matches(name, [*SETS, *index.all_tasks], n=3)
        hint = f"nearest: {', '.join(near)}" if near else "'lm_eval ls tasks' lists them"
        raise RequestError(f"lm-evaluation-harness has no task {name}; {hint}")
    return matches


def _load(index: Any, name: str) -> list[Any]:
    """A task with its data; a group as itself, a tag as its tasks."""
    try:
        loaded = index.load([name])
    except ModuleNotFoundError as error:
        raise SinkscopeError(f"task {name} needs a Python package that is not installed: {error.name}") from error
    except OSError as error:  # no network, or no file: huggingface_hub's and datasets' errors are OSErrors too
        raise SinkscopeError(f"the data of task {name} cannot be loaded: {_first_line(error)}") from error
    except Exception as error:  # definitions and data sets may raise anything
        raise SinkscopeError(f"task {name} cannot be loaded: {type(error).__name__}: {_first_line(error)}") from error
    return [loaded["groups"][name]] if name in loaded["groups"] else list(loaded["tasks"].values())


def _padded(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy for the harness, which would give a tokenizer without <pad> a new token that the model does not have."""
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise SinkscopeError("lm-evaluation-harness needs a tokenizer with a <bos> or an <eos>: leave out `tasks`")
    own = copy.deepcopy(tokenizer)
    if own.pad_token_id is None:
        own.pad_token = own.eos_token or own.bos_token
    return own


def _table(results: dict[str, Any]) -> pd.DataFrame:
    rows = Rows("tasks")
    for task, metrics in results["results"].items():
        samples = results["n-samples"].get(task, {}).get("effective")
        better = results["higher_is_better"].get(task, {})
        for key, value in metrics.items():
            metric, _, kept = key.partition(",")
            if not kept or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = metrics.get(f"{metric}_stderr,{kept}")
            rows.add(task=task, metric=metric, filter=kept, value=float(value),
                     stderr=float(error) if isinstance(error, int | float) else float("nan"), samples=samples,
                     higher_is_better=better.get(metric))  # fmt: skip
    return rows.frame()


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the harness off stdout and stderr."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
