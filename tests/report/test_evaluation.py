"""Pages and words of an evaluation: legible for every shape of run, and true to its tables."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from inspection import assert_legible

from sinkscope.evaluation.headline import evaluation_headline
from sinkscope.report.evaluation import provenance
from sinkscope.report.evaluation.contexts import binned
from sinkscope.report.evaluation.sentences import findings, rows
from sinkscope.report.evaluation.terminal import summary
from sinkscope.report.page import CAPTION_TOP
from sinkscope.report.render import figures, render
from sinkscope.tables.columns import frame
from sinkscope.tables.run_folder import Run

VARIANTS = ("single_2", "single_3", "multikey_1")
PAPER = ("wikitext", "lambada_openai", "arc_easy", "arc_challenge", "boolq", "copa", "hellaswag", "openbookqa", "piqa")


def perplexity_tables() -> dict[str, pd.DataFrame]:
    context = np.arange(1, 2049)
    loss = 2 + 5 / context**0.5
    metrics = ("loss", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
    return {
        "perplexity": frame("perplexity", {
            "metric": metrics, "value": (2.1, 8.2, 90.0, 1.8, 0.9), "low": (2.0, 7.4, 81.0, 1.7, 0.8),
            "high": (2.2, 9.0, 99.0, 1.9, 1.0), "drawn": ["documents"] * 5,
        }),
        "documents": frame("documents", {
            "document": [0], "name": ["a"], "tokens": [9], "words": [3], "bytes": [20], "nll": [18.0],
        }),
        "contexts": frame("contexts", {
            "context": context, "targets": np.where(context > 1024, 32, 3), "loss": loss, "deviation": loss / 2,
        }),
    }  # fmt: skip


def needle_tables(lengths: tuple[int, ...], share: float, variants: tuple[str, ...] = VARIANTS) -> dict[str, Any]:
    cells = [(v, n, d, s) for v in variants for n in lengths for d in np.linspace(0, 1, 5) for s in range(5)]
    random = np.random.default_rng(0)
    variant, length, depth, seed = (list(column) for column in zip(*cells, strict=True))
    count = len(cells)
    needles = frame("needles", {
        "variant": variant, "length": length, "depth": depth, "seed": seed, "found": random.random(count) < share,
        "key": ["a b"] * count, "expected": ["1"] * count, "generated": ["$x$ \u6f22"] * count,
        "position": [3] * count, "prompt": [9] * count,
    })  # fmt: skip
    grouped = needles.groupby(["variant", "length"], sort=False)["found"].agg(["mean", "size"]).reset_index()
    scores = frame("needle_scores", {
        "variant": grouped["variant"], "length": grouped["length"], "needles": grouped["size"],
        "score": grouped["mean"], "low": grouped["mean"] * 0.9, "high": grouped["mean"] * 0.9 + 0.1,
    })  # fmt: skip
    return {"needles": needles, "needle_scores": scores}


def task_table(names: tuple[str, ...], metrics: tuple[str, ...] = ("acc", "acc_norm")) -> dict[str, pd.DataFrame]:
    cells = [(name, metric) for name in names for metric in metrics]
    count = len(cells)
    return {"tasks": frame("tasks", {
        "task": [name for name, _ in cells], "metric": [metric for _, metric in cells], "filter": ["none"] * count,
        "value": np.linspace(0.2, 0.9, count), "stderr": [0.02] * (count - 1) + [np.nan],
        "samples": [100] * (count - 1) + [None], "higher_is_better": [True] * count,
    })}  # fmt: skip


def run(tables: dict[str, pd.DataFrame], name: str = "example/model-1B", **settings: Any) -> Run:
    return Run(
        {
            "kind": "evaluation", "sinkscope": "0.1.0", "created": "2026-01-01T00:00:00+00:00",
            "command": "sinkscope evaluate example/model-1B --tasks paper --lengths 512,1024,2048 --yarn 4",
            "model": {"name": name, "revision": None, "weights_sha256": "0123456789abcdef" * 4, "family": "llama",
                      "layers": 18, "heads": 16, "kv_heads": 8, "hidden_size": 2048, "head_dim": 128,
                      "parameters": 1_040_000_000, "dtype": "float32", "quantization": "nf4", "vscale": "learned",
                      "context": 8192, "yarn": 4.0},
            "device": "cpu",
            "data": {"source": "stdlib", "sha256": "fedcba9876543210" * 4, "documents": 32, "tokens": 90_000,
                     "words": 30_000, "bytes": 300_000, "prefix": "<bos>", "haystack": "stdlib"},
            "settings": {"perplexity": True, "window": 2048, "stride": 1024, "documents": 32, "characters": 8000,
                         "variants": VARIANTS, "lengths": (1024, 2048), "depths": 5, "seeds": 5, "new_tokens": None,
                         "yarn": 4.0, "tasks": (*PAPER, "sciq", "winogrande"), "tasks_path": None, "limit": 100,
                         "seed": 0, "draws": 1000, "batch_size": 1, **settings},
            "conventions": {f"convention_{n}": "95 %: bootstrap over documents, over windows if under 10" * 2
                            for n in range(5)},
            "versions": dict.fromkeys(("python", "torch", "transformers", "accelerate", "numpy", "pandas", "pyarrow",
                                       "matplotlib", "lm_eval"), "1.2.3"),
            "seconds": 12.5, "peak_memory_bytes": 1_500_000_000, "headline": evaluation_headline(tables),
        },
        tables,
    )  # fmt: skip


RUNS = {
    "whole": run(
        perplexity_tables() | needle_tables((512, 1024, 2048), 0.6)
        | {"tasks": pd.concat([task_table(PAPER)["tasks"], task_table(("wikitext",), ("word_perplexity",))["tasks"]])}
    ),
    "perplexity": run(perplexity_tables(), name="/folder/" + "averylongname" * 12 + "/$x$ \u6f22\nname", limit=None),
    "needles": run(needle_tables(tuple(range(1024, 131073, 8192)), 0.1)),
    "nothing_found": run(needle_tables((1024, 2048), 0.0)),
    "one_needle": run(needle_tables((131072,), 1.0, VARIANTS[:1])),
    "tasks": run(task_table(tuple(f"mmlu_averylongsubject_{n}" for n in range(40)))),
    "no_accuracy": run(task_table(("wikitext", "lambada_$x$"), ("word_perplexity", "bits_per_byte"))),
}  # fmt: skip


def test_a_long_provenance_stays_above_the_caption() -> None:
    """A model from a GGUF file under a static method has the most to say of itself."""
    run = RUNS["whole"]
    method = {
        "weight_bits": 8, "activation_bits": 8, "granularity": "W per channel, A per tensor", "modules": None,
        "calibration": {"source": "stdlib-code", "skipped_documents": 0, "sequences": 32, "tokens": 1024,
                        "bos": False, "sha256": "c" * 64},
    }  # fmt: skip
    gguf = {"file": "model.Q4_1.gguf", "sha256": "b" * 64, "tensors": {"Q4_1": 210, "F32": 61, "Q8_0": 1}}
    model = {**run.info["model"], "quantization": "w8a8-static", "method": method, "gguf": gguf}
    command = "sinkscope evaluate model.Q4_1.gguf --quantize w8a8-static" + " --data stdlib-prose" * 8
    made = replace(run, info={**run.info, "model": model, "command": command})
    page = provenance.ENTRY.draw(made)
    below = [text.get_text() for text in page.written if text.get_position()[1] < CAPTION_TOP]
    assert below == []


@pytest.mark.parametrize("name", RUNS)
def test_pages_are_legible(name: str) -> None:
    assert_legible(RUNS[name])


def test_pages_are_those_of_what_was_measured() -> None:
    assert list(figures(RUNS["whole"])) == ["verdict", "contexts", "needles", "tasks", "provenance"]
    assert list(figures(RUNS["needles"])) == ["verdict", "needles", "provenance"]
    assert list(figures(RUNS["nothing_found"])) == ["verdict", "provenance"], "a page of zeros says what page 1 said"
    assert list(figures(RUNS["tasks"])) == ["verdict", "tasks", "provenance"]


def test_words_quote_the_tables() -> None:
    whole = RUNS["whole"]
    cells = {row[0]: row for row in rows(whole)}
    score = whole["needle_scores"].iloc[0]
    assert cells["Perplexity per token"][1:3] == ("8.200", "7.400 to 9.000")
    assert cells["Needles single_2, 512 tokens"][1] == f"{100 * score['score']:.0f} %"
    assert cells["wikitext: acc"][1] == "0.2000"
    perplexity, needles, tasks = findings(whole)
    assert "8.200 per token" in perplexity
    hits = int(whole["needles"]["found"].sum())
    assert f"{hits} of {len(whole['needles'])} needles" in needles
    assert f"mean over {len(PAPER)}" in tasks
    assert "None of" in findings(RUNS["nothing_found"])[0]
    assert "100 % in every kind" in findings(RUNS["one_needle"])[0]
    assert "none of them has an accuracy" in findings(RUNS["no_accuracy"])[0]
    printed = str(summary(whole))
    assert all(sentence.split()[0] in printed for sentence in findings(whole))
    assert "YaRN x 4" in printed


def test_bins_pool_every_token() -> None:
    contexts = perplexity_tables()["contexts"]
    bins = binned(contexts)
    assert bins["targets"].sum() == contexts["targets"].sum()
    assert (bins["first"].iloc[1:].to_numpy() > bins["last"].iloc[:-1].to_numpy()).all()
    for row in bins.itertuples():
        inside = contexts[contexts["context"].between(row.first, row.last)]
        losses = np.repeat(inside["loss"].to_numpy(), inside["targets"])
        spread = np.repeat(inside["deviation"].to_numpy() ** 2, inside["targets"])
        assert row.loss == pytest.approx(losses.mean())
        assert row.deviation == pytest.approx(np.sqrt(spread.mean() + losses.var()))
    assert len(binned(contexts.iloc[:1])) == 1


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from sinkscope.report.render import render
from test_evaluation import RUNS
render(RUNS["whole"], Path({str(tmp_path)!r}), formats=("pdf",))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.pdf").is_file()


def test_rendering_twice_gives_the_same(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        render(RUNS["one_needle"], folder, formats=("pdf",))
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert names
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
