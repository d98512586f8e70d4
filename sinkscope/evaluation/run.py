"""An evaluation from a model's name to a run: `sinkscope.evaluate`.

Whatever can be refused without the model is refused before it is loaded: sources, tasks and their data.
"""

import hashlib
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.analysis.run import Analysis
from sinkscope.errors import RequestError
from sinkscope.evaluation.headline import evaluation_headline
from sinkscope.evaluation.perplexity import perplexity_tables, token_losses
from sinkscope.evaluation.retrieval import ask_needles, plan_needles
from sinkscope.evaluation.settings import EvaluationSettings
from sinkscope.evaluation.tasks import load_tasks, run_tasks
from sinkscope.evaluation.texts import Text, prefix_token, read_texts
from sinkscope.evaluation.yarn import extend_
from sinkscope.loading.describe import describe
from sinkscope.loading.load import load_model
from sinkscope.passes.memory import peak_memory
from sinkscope.provenance.begin import LIBRARIES, begin, library_versions
from sinkscope.tables.run_folder import Run
from sinkscope.text.sources import open_documents
from sinkscope.text.windows import LONGEST_DEFAULT

CONVENTIONS = {
    "words": "separated by whitespace",
    "windows": "each token scored once; after the first, a window scores its last `stride` tokens",
    "intervals": "95 %: bootstrap over documents (over windows if under 10), Wilson's for needles",
    "needles": "found if the greedy answer contains the value, whatever its case",
    "accuracy_mean": "unweighted mean over tasks of `acc`",
}
BOS = ("auto", "always", "never")
SHORT_CONTEXT = 512  # below, half of the context has no room for most needles


class Evaluation(Analysis):
    """A finished evaluation: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`."""


def evaluate(
    model: str | Path | PreTrainedModel = "demo",
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    data: str = "stdlib",
    data_options: dict[str, Any] | None = None,
    haystack: str = "stdlib",
    bos: str = "auto",
    batch_size: int = 1,
    settings: EvaluationSettings | None = None,
    progress: bool = False,
    **loading: Any,
) -> Evaluation:
    """Evaluates a causal LM: perplexity, needles in a haystack, tasks of lm-evaluation-harness.

    Args:
        model: `demo`, a local folder or a hub id; or a loaded model. YaRN extends a loaded model in place.
        tokenizer: the tokenizer of a loaded model.
        data: the text whose perplexity is measured: `stdlib`, a .txt, .jsonl or .parquet file, a folder of them, or the
            name of a `datasets` data set.
        data_options: options of `sinkscope.text.sources.open_documents` (config, split, streaming, column).
        haystack: the text that hides needles, a source as `data` is.
        bos: `always` or `never` force or forbid a <bos> before documents and prompts; `auto` follows the tokenizer.
        batch_size: windows, prompts or requests per forward pass.
        settings: what to evaluate.
        progress: show progress on stderr.
        **loading: options of `sinkscope.loading.load.load_model` (revision, dtype, device, ...).

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    started = time.perf_counter()
    settings = settings or EvaluationSettings()
    if bos not in BOS:
        raise RequestError(f"`bos` is {', '.join(BOS[:-1])} or {BOS[-1]}, not {bos}")
    documents = open_documents(data, **(data_options or {})) if settings.perplexity else iter(())
    hay = open_documents(haystack) if settings.variants else iter(())
    tasks = load_tasks(settings.tasks, settings.tasks_path, progress=progress) if settings.tasks else None
    known: dict[str, Any] = {}
    if not isinstance(model, PreTrainedModel):
        loaded = load_model(str(model), **loading)
        model, tokenizer, known = loaded.model, tokenizer or loaded.tokenizer, loaded.description
    elif loading:
        raise RequestError(f"a loaded model takes no loading options: {', '.join(loading)}")
    if tokenizer is None:
        raise RequestError("a loaded model needs its tokenizer to be evaluated")
    described = {**describe(model), **known}
    if settings.yarn is not None:
        extend_(model, settings.yarn)
    settings = _completed(settings, model)
    tables: dict[str, pd.DataFrame] = {}
    texts: list[Text] = []
    plan = []
    if settings.variants:
        plan = plan_needles(model, tokenizer, hay, settings, settings.lengths or (), bos=bos, progress=progress)
    if settings.perplexity:
        texts = read_texts(documents, tokenizer, count=settings.documents, characters=settings.characters)
        losses = token_losses(
            model, texts, prefix=prefix_token(tokenizer, bos), window=settings.window or 0,
            stride=settings.stride or 0, batch_size=batch_size, progress=progress,
        )  # fmt: skip
        tables |= perplexity_tables(losses, texts, draws=settings.draws, seed=settings.seed)
    if plan:
        tables |= ask_needles(model, tokenizer, plan, batch_size=batch_size, progress=progress)
    if tasks is not None:
        tables["tasks"] = run_tasks(
            tasks, model, tokenizer, limit=settings.limit, batch_size=batch_size, draws=settings.draws,
            progress=progress,
        )  # fmt: skip
    info = begin(
        "evaluation",
        model={**described, "context": context_of(model), "yarn": settings.yarn},
        data=_data(texts, tokenizer, data, haystack if settings.variants else None, bos),
        device=str(model.device),
        seconds=time.perf_counter() - started,
        peak_memory_bytes=peak_memory(model.device),
        settings={**asdict(settings), "batch_size": batch_size},
        conventions=CONVENTIONS,
        versions=library_versions((*LIBRARIES, "lm_eval") if tasks is not None else LIBRARIES),
        headline=evaluation_headline(tables),
    )
    return Evaluation(Run(info, tables))


def context_of(model: PreTrainedModel) -> int | None:
    """The longest sequence that a model's configuration allows; None where it does not say."""
    return getattr(model.config, "max_position_embeddings", None)


def _completed(settings: EvaluationSettings, model: PreTrainedModel) -> EvaluationSettings:
    """The settings with what follows from the model filled in, as run.json records them."""
    longest = min(context_of(model) or LONGEST_DEFAULT, LONGEST_DEFAULT)
    window = settings.window or longest
    lengths = settings.lengths or ((longest // 2, longest) if longest >= SHORT_CONTEXT else (longest,))
    return replace(
        settings,
        window=window if settings.perplexity else None,
        stride=(settings.stride or max(window // 2, 1)) if settings.perplexity else None,
        lengths=lengths if settings.variants else None,
    )


def _data(
    texts: list[Text], tokenizer: PreTrainedTokenizerBase, source: str, haystack: str | None, bos: str
) -> dict[str, Any]:
    """What was read; the hash is that of the texts, each followed by a zero byte."""
    if not texts:
        return {"source": haystack or "tasks", "haystack": haystack}
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.text.encode("utf-8") + b"\0")
    return {
        "source": source,
        "sha256": digest.hexdigest(),
        "documents": len(texts),
        "tokens": sum(len(text.ids) for text in texts),
        "words": sum(text.words for text in texts),
        "bytes": sum(text.size for text in texts),
        "prefix": str(tokenizer.convert_ids_to_tokens(prefix_token(tokenizer, bos))),
        "haystack": haystack,
    }
