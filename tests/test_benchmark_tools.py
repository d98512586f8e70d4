"""What the benchmarks rest on: models written shard by shard, and a comparison that finds what differs."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sinkscope
from sinkscope.loading.load import load_model
from sinkscope.tables.run_folder import Run

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks' modules can be imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


SIZE = ["--hidden", "32", "--layers", "2", "--mlp", "48", "--heads", "4", "--kv-heads", "2", "--vocabulary", "300"]


@pytest.mark.parametrize(
    ("options", "model_type", "dtype"),
    [([], "llama", "float32"), (["--model-type", "qwen2", "--tied", "--dtype", "bfloat16"], "qwen2", "bfloat16")],
)
def test_a_random_model_loads_and_can_be_analyzed(
    options: list[str],
    model_type: str,
    dtype: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from random_model import main

    folder = tmp_path / "model"
    monkeypatch.setattr(sys, "argv", ["random_model.py", str(folder), *SIZE, "--context", "64", "--sinks", *options])
    main()
    said = capsys.readouterr().out
    loaded = load_model(str(folder), device="cpu")
    assert loaded.model.config.model_type == model_type
    assert {str(p.dtype) for p in loaded.model.parameters()} == {f"torch.{dtype}"}
    assert f"{sum(p.numel() for p in loaded.model.parameters()):,} parameters" in said
    analysis = sinkscope.analyze(loaded.model, loaded.tokenizer, sequences=2, tokens=64)
    assert analysis.headline["bound_violations"] == 0
    assert analysis.headline["massive_count"] > 0


def test_shards_hold_every_tensor_once_and_as_drawn(tmp_path: Path) -> None:
    from random_model import llama_config, write_random_model

    config = llama_config(hidden=32, layers=2, mlp=48, heads=4, kv_heads=2, vocabulary=300, context=64)
    written = write_random_model(tmp_path / "model", config, shard_bytes=20_000)
    assert written.shards > 3
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
    assert len(index["weight_map"]) == 3 + 2 * 9
    assert len(list((tmp_path / "model").glob("*.safetensors"))) == written.shards
    weights = dict(load_model(str(tmp_path / "model"), device="cpu").model.named_parameters())
    assert sum(p.numel() for p in weights.values()) == written.parameters
    assert float(weights["model.layers.1.mlp.up_proj.weight"].detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(weights["model.norm.weight"].detach().mean()) == pytest.approx(1.0, abs=0.1)
    assert not torch.equal(weights["model.layers.0.mlp.up_proj.weight"], weights["model.layers.1.mlp.up_proj.weight"])
    with pytest.raises(FileExistsError):
        write_random_model(tmp_path / "model", config)


def test_presets_have_the_sizes_that_they_are_named_for() -> None:
    from random_model import PRESETS, llama_config
    from transformers import AutoModelForCausalLM

    counts = {}
    for name, preset in PRESETS.items():
        with torch.device("meta"):
            config = llama_config(context=4096, **{key: value for key, value in preset.items() if key != "dtype"})
            counts[name] = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    assert counts["300m"] >= 300e6
    assert PRESETS["300m"]["layers"] == 16
    assert counts["3b"] >= 3.0e9
    assert counts["405b-slice"] == 2 * 3_187_703_808 + 2 * 128256 * 16384 + 16384


def changed(run: Run, table: str, column: str, row: int, change: Any) -> Run:
    """The run with one entry of one table changed."""
    frame = run.tables[table].copy()
    frame.loc[frame.index[row], column] = change(frame[column].iloc[row])
    return Run(run.info, {**run.tables, table: frame})


def test_the_comparison_of_runs_finds_one_changed_entry() -> None:
    from agreement import largest_difference

    run = sinkscope.analyze("demo", sequences=2, tokens=64, device="cpu").run
    assert largest_difference(run, run).value == 0
    frame = run.tables["positions"]
    row = int(frame["grad_norm"].first_valid_index())
    place = frame.iloc[row]
    same = frame[(frame.layer == place.layer) & (frame.site == place.site)]
    scale = float(same["grad_norm"].max())
    found = largest_difference(run, changed(run, "positions", "grad_norm", row, lambda x: x + 1e-3 * scale))
    assert found.value == pytest.approx(1e-3, rel=0.01)
    assert found.where == f"positions.grad_norm at layer {place.layer}, site {place.site}"
    assert largest_difference(run, changed(run, "massive", "channel", 0, lambda x: x + 1)).value == np.inf
    assert largest_difference(run, changed(run, "heads", "alpha", 0, lambda _: np.nan)).value == np.inf
    shorter = Run(run.info, {**run.tables, "values": run.tables["values"].iloc[:-1]})
    assert largest_difference(run, shorter) == (
        np.inf,
        f"values: {len(run['values'])} rows against {len(shorter['values'])}",
    )
