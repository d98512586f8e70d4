"""Perplexity of documents, each scored whole in overlapping windows.

The negative log-likelihood of all documents, sum of -log p(token | context) in nats, is divided by what one wants to
compare by, then exponentiated:

    perplexity       exp(nll / tokens)     comparable between models of one tokenizer
    word perplexity  exp(nll / words)      words separated by whitespace; comparable between tokenizers
    byte perplexity  exp(nll / bytes)      UTF-8; bits per byte is its logarithm to the base 2

As documents are scored whole, behind a prefix token, the sum is the log-probability of the text itself, whatever its
tokens. Windows come from `rolling`. Losses are taken in float32, sums in float64.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.evaluation.rolling import Window, rolling_windows
from sinkscope.evaluation.texts import Text, check_vocabulary
from sinkscope.intervals.loss_bootstrap import Array, ratio_interval
from sinkscope.models.shape import context_of
from sinkscope.passes.batches import IGNORED
from sinkscope.passes.finite import reason
from sinkscope.passes.losses import cross_entropy
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.passes.modes import frozen, input_device
from sinkscope.progress.display import counted
from sinkscope.tables.columns import frame

FEW_DOCUMENTS = 10  # with fewer, the bootstrap draws windows: a handful of units says little about their spread


@dataclass(frozen=True)
class TokenLosses:
    """Every scored token of a text, in the order of scoring.

    Attributes:
        document: number of its document, int64 [N].
        window: running number of its window, int64 [N].
        context: tokens that the model read before it, the prefix included, int64 [N].
        nll: -log p of it in nats, float64 [N].
    """

    document: np.ndarray[Any, np.dtype[np.int64]]
    window: np.ndarray[Any, np.dtype[np.int64]]
    context: np.ndarray[Any, np.dtype[np.int64]]
    nll: Array


def token_losses(
    model: PreTrainedModel,
    texts: list[Text],
    *,
    prefix: int,
    window: int,
    stride: int,
    batch_size: int = 1,
) -> TokenLosses:
    """Scores every token of every document once.

    Args:
        model: a causal LM.
        texts: the documents.
        prefix: token before each document.
        window: tokens that the model reads at once.
        stride: tokens scored per window.
        batch_size: windows per forward pass; the numbers do not depend on it.

    Raises:
        SinkscopeError: if the windows do not fit the model or memory, or a loss is not finite.
    """
    check(model, texts, window, stride, batch_size)
    plan = [(n, w) for n, text in enumerate(texts) for w in rolling_windows(len(text.ids), window, stride)]
    batches = [plan[i : i + batch_size] for i in range(0, len(plan), batch_size)]
    parts: list[Array] = []
    with frozen(model), explained_memory_errors(batch_size), torch.no_grad():
        for batch in counted(batches, "perplexity: window"):
            parts += _score(model, [([prefix, *texts[n].ids], w) for n, w in batch])
    losses = np.concatenate(parts)
    document = np.repeat([n for n, _ in plan], [w.scored for _, w in plan])
    if not np.isfinite(losses).all():
        name = texts[int(document[~np.isfinite(losses)][0])].name
        raise SinkscopeError(f"non-finite loss in document {name}: {reason(model)}")
    return TokenLosses(
        document.astype(np.int64),
        np.repeat(np.arange(len(plan)), [w.scored for _, w in plan]),
        np.concatenate([np.arange(w.end - w.scored + 1, w.end + 1) - w.start for _, w in plan]),
        losses,
    )


def perplexity_tables(losses: TokenLosses, texts: list[Text], *, draws: int, seed: int) -> dict[str, pd.DataFrame]:
    """The tables `perplexity`, `documents` and `contexts`.

    Args:
        losses: of `token_losses`.
        texts: the documents that were scored.
        draws: bootstrap samples for the intervals.
        seed: of them.
    """
    nll = np.bincount(losses.document, losses.nll, minlength=len(texts))
    documents = frame(
        "documents",
        {
            "document": np.arange(len(texts)),
            "name": [text.name for text in texts],
            "tokens": [len(text.ids) for text in texts],
            "words": [text.words for text in texts],
            "bytes": [text.size for text in texts],
            "nll": nll,
        },
    )
    return {
        "perplexity": _perplexity(losses, documents, draws, seed),
        "documents": documents,
        "contexts": _contexts(losses),
    }


def _perplexity(losses: TokenLosses, documents: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    total, tokens = float(documents["nll"].sum()), int(documents["tokens"].sum())
    by_document = len(documents) >= FEW_DOCUMENTS
    units = losses.document if by_document else losses.window
    nll: Array = np.asarray(np.bincount(units, losses.nll), dtype=np.float64)
    count: Array = np.bincount(units).astype(np.float64)
    rows = []
    for metric, per, of in _METRICS:
        size = tokens if per is None else float(documents[per].sum())
        if not size:
            continue
        # Windows do not end with words: where windows are drawn, words and bytes are shared out by tokens.
        weights: Array = documents[per].to_numpy(np.float64) if per and by_document else count * size / tokens
        ends = ratio_interval(nll, weights, draws=draws, seed=seed)
        rows.append((metric, *(of(value) for value in (total / size, *ends))))
    metrics, values, lows, highs = zip(*rows, strict=True)
    drawn = "documents" if by_document else "windows"
    columns = {"metric": metrics, "value": values, "low": lows, "high": highs, "drawn": [drawn] * len(rows)}
    return frame("perplexity", columns)


def _exponential(value: float) -> float:
    return math.inf if value > 700 else math.exp(value)


# Name, what the log-likelihood is divided by (None: tokens), and what is made of the ratio.
_METRICS = (
    ("loss", None, float),
    ("perplexity", None, _exponential),
    ("word_perplexity", "words", _exponential),
    ("byte_perplexity", "bytes", _exponential),
    ("bits_per_byte", "bytes", lambda value: value / math.log(2)),
)


def _contexts(losses: TokenLosses) -> pd.DataFrame:
    """Mean loss by length of context."""
    count = np.bincount(losses.context)
    there = np.flatnonzero(count)
    mean = np.bincount(losses.context, losses.nll)[there] / count[there]
    square = np.bincount(losses.context, losses.nll**2)[there] / count[there]
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return frame("contexts", {"context": there, "targets": count[there], "loss": mean, "deviation": spread})


def check(model: PreTrainedModel, texts: list[Text], window: int, stride: int, batch_size: int) -> None:
    """Refuses windows that a model cannot read.

    Raises:
        SinkscopeError: if they exceed its context, or the texts its vocabulary.
    """
    if batch_size < 1:
        raise RequestError("`batch_size` must be at least 1")
    if not 1 <= stride <= window:
        raise RequestError(f"`stride` must lie between 1 and the window of {window}, not at {stride}")
    context = context_of(model.config)
    if context is not None and window > context:
        raise RequestError(
            f"a window of {window} tokens exceeds the model's context of {context}: use a smaller `window`, or `yarn`"
        )
    check_vocabulary(model, (text.ids for text in texts))


def _score(model: PreTrainedModel, batch: list[tuple[list[int], Window]]) -> list[Array]:
    """Losses of a batch's windows, in order.

    Shorter windows are padded on the right, where under a causal mask nothing that is scored can see the padding. Only
    the logits that are scored are computed.
    """
    longest = max(window.end - window.start for _, window in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.int64)
    targets = torch.full((len(batch), longest), IGNORED)
    for row, (stream, (start, end, scored)) in enumerate(batch):
        ids[row, : end - start] = torch.tensor(stream[start:end])
        targets[row, end - start - scored : end - start] = torch.tensor(stream[end - scored + 1 : end + 1])
    needed = longest - int((targets != IGNORED).any(0).nonzero()[0])
    losses = _cross_entropies(model, ids, targets[:, -needed:])
    kept = (targets[:, -needed:] != IGNORED).to(losses.device)
    return [row[mask].cpu().double().numpy() for row, mask in zip(losses, kept, strict=True)]


def _cross_entropies(model: PreTrainedModel, ids: Tensor, targets: Tensor) -> Tensor:
    """-log p of the targets at the last positions, float32 [B, K]."""
    logits = model(input_ids=ids.to(input_device(model)), use_cache=False, logits_to_keep=targets.shape[1]).logits
    return cross_entropy(logits.transpose(1, 2), targets)
