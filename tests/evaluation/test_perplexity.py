"""Perplexity agrees with a reference that scores one token at a time, and its windows with lm-evaluation-harness's."""

import math

import numpy as np
import pytest
import tiny
import torch
from tokenizers import processors

from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.perplexity import perplexity_tables, token_losses
from sinkscope.evaluation.rolling import rolling_windows
from sinkscope.evaluation.texts import Text, cut, prefix_token, read_texts
from sinkscope.loading.load import load_model
from sinkscope.text.documents import Document

DOCUMENTS = [
    Document("first", "A sink is a token that others attend to, whatever it says.  It need not be the first."),
    Document("short", "ab"),
    Document("wide", "na\u00efve \u2192 three bytes, and a tail that is long enough for several windows of this model"),
]


def texts() -> list[Text]:
    return read_texts(DOCUMENTS, tiny.tokenizer(), count=9, characters=1000)


def slow(model: torch.nn.Module, ids: list[int], prefix: int, window: int, stride: int) -> list[tuple[int, float]]:
    """Context and loss of every token, each by a forward pass of its own over what its window shows of its past."""
    stream = [prefix, *ids]
    found = []
    for position in range(1, len(stream)):
        if position <= window:
            start = 0
        else:
            last = window + stride * math.ceil((position - window) / stride)
            start = min(last, len(ids)) - window
        context = stream[start:position]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([context])).logits[0, -1]
        found.append((len(context), -float(logits.double().log_softmax(-1)[stream[position]])))
    return found


@pytest.mark.parametrize(("window", "stride", "batch"), [(16, 16, 1), (16, 5, 3), (64, 32, 2), (9, 1, 4)])
@pytest.mark.parametrize("name", ["llama_gqa", "qwen3_mha"])
def test_agrees_with_one_token_at_a_time(name: str, window: int, stride: int, batch: int) -> None:
    model = tiny.build(name)
    losses = token_losses(model, texts(), prefix=0, window=window, stride=stride, batch_size=batch)
    expected = [slow(model, text.ids, 0, window, stride) for text in texts()]
    assert losses.document.tolist() == [n for n, document in enumerate(expected) for _ in document]
    assert losses.context.tolist() == [context for document in expected for context, _ in document]
    np.testing.assert_allclose(losses.nll, [nll for document in expected for _, nll in document], rtol=2e-5)


def test_v_scale_is_in_the_numbers() -> None:
    plain, valved = load_model("demo"), load_model("demo-vscale")
    given = read_texts(DOCUMENTS, valved.tokenizer, count=1, characters=200)
    losses = [token_losses(m.model, given, prefix=0, window=16, stride=8).nll for m in (plain, valved)]
    np.testing.assert_allclose(losses[1], [nll for _, nll in slow(valved.model, given[0].ids, 0, 16, 8)], rtol=1e-4)
    assert not np.allclose(losses[0], losses[1], rtol=1e-3)


@pytest.mark.parametrize(("tokens", "window", "stride"), [(1, 4, 2), (4, 4, 4), (5, 4, 4), (23, 7, 3), (100, 8, 1)])
def test_every_token_is_scored_once_with_enough_context(tokens: int, window: int, stride: int) -> None:
    windows = rolling_windows(tokens, window, stride)
    scored = [p for w in windows for p in range(w.end - w.scored + 1, w.end + 1)]
    assert scored == list(range(1, tokens + 1))
    assert all(w.end - w.start == min(window, tokens) for w in windows)
    assert all((w.end - w.scored + 1) - w.start >= window - stride + 1 for w in windows[1:])


@pytest.mark.parametrize("stride", [7, 3])
def test_windows_are_those_of_the_harness(stride: int) -> None:
    utils = pytest.importorskip("lm_eval.utils")
    ids = list(range(100, 131))
    theirs = list(utils.get_rolling_token_windows(ids, 0, max_seq_len=7, context_len=7 - stride + 1))
    stream = [0, *ids]
    ours = [(stream[a:b], stream[b - n + 1 : b + 1]) for a, b, n in rolling_windows(len(ids), 7, stride)]
    assert ours == [(list(read), list(predicted)) for read, predicted in theirs]


def test_tables_normalize_the_same_sum() -> None:
    model = tiny.build("llama_gqa")
    losses = token_losses(model, texts(), prefix=0, window=32, stride=16)
    tables = perplexity_tables(losses, texts(), draws=200, seed=1)
    total = sum(nll for text in texts() for _, nll in slow(model, text.ids, 0, 32, 16))
    joined = [document.text for document in DOCUMENTS]
    words = sum(len(text.split()) for text in joined)
    size = sum(len(text.encode()) for text in joined)
    values = tables["perplexity"].set_index("metric")["value"]
    assert values["loss"] == pytest.approx(total / size, rel=1e-5)  # one token per byte
    assert values["perplexity"] == pytest.approx(math.exp(total / size), rel=1e-5)
    assert values["word_perplexity"] == pytest.approx(math.exp(total / words), rel=1e-4)
    assert values["byte_perplexity"] == pytest.approx(values["perplexity"])
    assert values["bits_per_byte"] == pytest.approx(math.log2(values["byte_perplexity"]))
    rows = tables["perplexity"]
    assert (rows["low"] < rows["value"]).all()
    assert (rows["value"] < rows["high"]).all()
    assert set(rows["drawn"]) == {"windows"}
    assert tables["documents"]["tokens"].sum() == tables["contexts"]["targets"].sum() == size
    again = perplexity_tables(losses, texts(), draws=200, seed=1)["perplexity"]
    assert rows.equals(again)
    assert not rows.equals(perplexity_tables(losses, texts(), draws=200, seed=2)["perplexity"])


def test_contexts_are_means_over_their_tokens() -> None:
    model = tiny.build("llama_gqa")
    losses = token_losses(model, texts(), prefix=0, window=16, stride=4)
    table = perplexity_tables(losses, texts(), draws=10, seed=0)["contexts"].set_index("context")
    pairs = [pair for text in texts() for pair in slow(model, text.ids, 0, 16, 4)]
    for context in table.index:
        values = [nll for c, nll in pairs if c == context]
        assert table.loc[context, "targets"] == len(values)
        assert table.loc[context, "loss"] == pytest.approx(np.mean(values), rel=1e-5)
        assert table.loc[context, "deviation"] == pytest.approx(np.std(values), rel=1e-3, abs=1e-5)


def test_documents_are_drawn_where_there_are_ten() -> None:
    many = [Document(str(n), f"document number {n} " + "x" * n) for n in range(10)]
    given = read_texts(many, tiny.tokenizer(), count=10, characters=100)
    losses = token_losses(tiny.build("llama_gqa"), given, prefix=0, window=8, stride=8)
    table = perplexity_tables(losses, given, draws=50, seed=0)["perplexity"]
    assert set(table["drawn"]) == {"documents"}


def test_a_single_window_has_no_interval() -> None:
    given = read_texts(DOCUMENTS[1:2], tiny.tokenizer(), count=1, characters=100)
    losses = token_losses(tiny.build("llama_gqa"), given, prefix=0, window=8, stride=8)
    table = perplexity_tables(losses, given, draws=50, seed=0)["perplexity"]
    assert table["low"].isna().all()
    assert table["value"].notna().all()


def test_cutting_keeps_whole_words() -> None:
    assert cut("one two three", 100) == "one two three"
    assert cut("one two three", 9) == "one two"
    assert cut("one two three", 7) == "one two"
    assert cut("one two three", 2) == "on"


def test_prefix() -> None:
    plain = tiny.tokenizer()
    assert prefix_token(plain, "auto") == prefix_token(plain, "always") == 0
    assert prefix_token(plain, "never") == 1
    without_bos = tiny.tokenizer()
    without_bos.backend_tokenizer.post_processor = processors.Sequence([])  # no <bos> before a text any more
    assert without_bos("a")["input_ids"][0] != without_bos.bos_token_id
    assert prefix_token(without_bos, "auto") == without_bos.eos_token_id
    without_bos.eos_token = None
    assert prefix_token(without_bos, "auto") == without_bos.bos_token_id
    with pytest.raises(SinkscopeError, match="no <eos>"):
        prefix_token(without_bos, "never")
    without_bos.bos_token = None
    with pytest.raises(SinkscopeError, match="neither <bos> nor <eos>"):
        prefix_token(without_bos, "auto")
    with pytest.raises(SinkscopeError, match="no <bos>"):
        prefix_token(without_bos, "always")


def test_what_cannot_be_scored() -> None:
    model = tiny.build("llama_gqa")
    with pytest.raises(SinkscopeError, match=r"context of 64.*`yarn`"):
        token_losses(model, texts(), prefix=0, window=65, stride=8)
    with pytest.raises(SinkscopeError, match="`stride` must lie between 1 and the window of 8"):
        token_losses(model, texts(), prefix=0, window=8, stride=9)
    with pytest.raises(SinkscopeError, match="outside the model's 100 embeddings"):
        token_losses(tiny.build("llama_gqa", vocab_size=100), texts(), prefix=0, window=8, stride=8)
    with torch.no_grad():
        model.lm_head.weight[5] = math.nan
    with pytest.raises(SinkscopeError, match="non-finite loss in document first"):
        token_losses(model, texts(), prefix=0, window=8, stride=8)
    with pytest.raises(SinkscopeError, match="no text to score"):
        read_texts([Document("empty", " ")], tiny.tokenizer(), count=1, characters=0)
