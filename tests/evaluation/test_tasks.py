"""Tasks of lm-evaluation-harness on a model in memory: a local task, offline, whose numbers a slow reference knows."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tokenizers import processors
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.cli import main
from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.perplexity import perplexity_tables, token_losses
from sinkscope.evaluation.tasks import PAPER, SETS, LoadedTasks, load_tasks, run_tasks
from sinkscope.evaluation.texts import read_texts
from sinkscope.loading.load import load_model
from sinkscope.tables.run_folder import read_run
from sinkscope.text.documents import Document

pytest.importorskip("lm_eval")

CHOICES = [
    {"question": f"The {thing} is", "choices": ["red", "very green", "blue"], "answer": answer}
    for thing, answer in (("sky", 2), ("grass", 1), ("rose", 0), ("sea", 2), ("leaf", 1), ("blood", 0))
]
PAGES = [
    {"page": f"Page {n}: a text of some words, long enough for a few windows of a tiny model. " * n} for n in (1, 2, 3)
]

_COLOURS = """
task: colours
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
_PAGES = """
task: pages
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{page}}"
metric_list:
  - metric: word_perplexity
    aggregation: weighted_perplexity
    higher_is_better: false
  - metric: byte_perplexity
    aggregation: weighted_perplexity
    higher_is_better: false
  - metric: bits_per_byte
    aggregation: bits_per_byte
    higher_is_better: false
"""


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tasks, their data, and one whose data is nowhere."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, rows, text in (("colours", CHOICES, _COLOURS), ("pages", PAGES, _PAGES)):
        data = folder / f"{name}.jsonl"
        data.write_text("\n".join(json.dumps(row) for row in rows))
        source = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
        (folder / f"{name}.yaml").write_text(text + source)
    (folder / "lost.yaml").write_text(_COLOURS.replace("colours", "lost") + "dataset_path: json\ndataset_kwargs:\n"
                                      "  data_files:\n    test: /nowhere/lost.jsonl\ntest_split: test\n")  # fmt: skip
    (folder / "remote.yaml").write_text(_COLOURS.replace("colours", "remote") + "dataset_path: some/dataset\n"
                                        "test_split: test\n")  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the data sets that `datasets` builds out of the user's cache."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "datasets"))


def plain_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer that puts no <bos> before a text, which the harness would count as a token to predict."""
    tokenizer = tiny.tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    return tokenizer


def likeliest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> int:
    """The choice of the largest log-likelihood behind the question, one forward pass each."""
    question = tokenizer(row["question"])["input_ids"]
    scores = []
    for choice in row["choices"]:
        ids = tokenizer(f"{row['question']} {choice}")["input_ids"]
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        scores.append(sum(float(logs[i - 1, ids[i]]) for i in range(len(question), len(ids))))
    return int(np.argmax(scores))


@pytest.mark.parametrize("name", ["demo", "demo-vscale"])
def test_accuracy_is_that_of_the_reference(name: str, definitions: Path) -> None:
    loaded = load_model(name)
    expected = np.mean([likeliest(loaded.model, loaded.tokenizer, row) == row["answer"] for row in CHOICES])
    tasks = load_tasks(("colours",), str(definitions))
    table = run_tasks(tasks, loaded.model, loaded.tokenizer, batch_size=2, draws=10)
    row = table.set_index("metric").loc["acc"]
    assert row["value"] == pytest.approx(expected)
    assert (row["task"], row["samples"], row["higher_is_better"]) == ("colours", len(CHOICES), True)
    limited = run_tasks(load_tasks(("colours",), str(definitions)), loaded.model, loaded.tokenizer, limit=2, draws=10)
    assert limited["samples"].tolist() == [2] * len(limited)


def test_perplexity_is_the_harness_one_where_stride_is_window(definitions: Path) -> None:
    """Same windows, prefix and words: our definition with stride = window is that of `loglikelihood_rolling`."""
    model, tokenizer = tiny.build("llama_gqa"), plain_tokenizer()
    table = run_tasks(load_tasks(("pages",), str(definitions)), model, tokenizer, draws=10).set_index("metric")
    texts = read_texts([Document("page", row["page"]) for row in PAGES], tokenizer, count=3, characters=10_000)
    losses = token_losses(model, texts, prefix=0, window=tiny.CONTEXT, stride=tiny.CONTEXT)
    ours = perplexity_tables(losses, texts, draws=10, seed=0)["perplexity"].set_index("metric")
    nll = np.log(table["value"]["byte_perplexity"]) * sum(text.size for text in texts)
    assert nll == pytest.approx(losses.nll.sum(), rel=1e-5)
    for metric in ("byte_perplexity", "bits_per_byte"):
        assert table["value"][metric] == pytest.approx(ours["value"][metric], rel=1e-5)
    # The harness counts the empty string behind a text's last blank as a word.
    theirs = sum(len(row["page"].split(" ")) for row in PAGES)
    assert theirs == sum(text.words for text in texts) + len(PAGES)
    assert np.log(table["value"]["word_perplexity"]) == pytest.approx(losses.nll.sum() / theirs, rel=1e-5)


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_on_a_quantized_model(quantize: str, definitions: Path, tmp_path: Path) -> None:
    # Whole blocks of 64, as bitsandbytes' CPU kernels for nf4 need them.
    folder = str(tiny.save(tiny.build("llama_gqa", hidden_size=64, intermediate_size=128, head_dim=16), tmp_path))
    loaded, plain = load_model(folder, quantize=quantize), load_model(folder)
    values = [
        run_tasks(load_tasks(("pages",), str(definitions)), m.model, m.tokenizer, draws=10)["value"]
        for m in (loaded, plain)
    ]
    assert np.isfinite(values[0]).all()
    assert not np.allclose(values[0], values[1], rtol=1e-6)
    np.testing.assert_allclose(values[0], values[1], rtol=0.2)


@pytest.mark.usefixtures("undrawn")
def test_the_verb_runs_tasks(definitions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    options = ["--no-perplexity", "--variants", "none", "--tasks", "colours,pages", "--tasks-path", str(definitions)]
    assert main(["evaluate", "demo", "--out", str(out), *options]) == 0
    run = read_run(out)
    assert set(run["tasks"]["task"]) == {"colours", "pages"}
    assert run.info["headline"]["tasks"] == 2
    accuracy = run["tasks"].set_index("metric")["value"]["acc"]
    assert run.info["headline"]["accuracy_mean"] == accuracy
    assert run.info["versions"]["lm_eval"]
    printed = capfd.readouterr()
    assert re.fullmatch("plan: .* free memory; 2 tasks, whose time is not foretold\n", printed.err)
    assert "colours: acc" in printed.out


def test_the_tokenizer_is_left_alone(definitions: Path) -> None:
    tokenizer = tiny.tokenizer()
    assert tokenizer.pad_token is None
    tokenizer.eos_token = None
    run_tasks(load_tasks(("colours",), str(definitions)), tiny.build("llama_gqa"), tokenizer, draws=10)
    assert tokenizer.pad_token is None
    assert len(tokenizer) == len(tiny.tokenizer())
    tokenizer.bos_token = None
    with pytest.raises(SinkscopeError, match="a <bos> or an <eos>"):
        run_tasks(LoadedTasks([], None), tiny.build("llama_gqa"), tokenizer)


def test_tasks_that_cannot_be_loaded(definitions: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkscopeError, match="no task hellaswagg; nearest: hellaswag"):
        load_tasks((*PAPER, "hellaswagg"))  # so those of the paper exist, which come first
    assert SETS["paper"] is PAPER
    with pytest.raises(SinkscopeError, match=r"the data of task lost cannot be loaded: .*nowhere"):
        load_tasks(("lost",), str(definitions))
    with pytest.raises(SinkscopeError, match=r"the data of task remote cannot be loaded: .*some/dataset"):
        load_tasks(("remote",), str(definitions))
    with pytest.raises(SinkscopeError, match="is not a folder"):
        load_tasks(("colours",), str(tmp_path / "nothing"))
