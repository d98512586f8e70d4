"""Runs that were written before a key or a column was added are still read."""

import json
from pathlib import Path

import pandas as pd
import pytest
from report.synthetic import Shape, synthetic

from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.errors import SinkscopeError
from sinkscope.tables.run_folder import read_run, write_run


def test_an_analysis_without_the_hash_of_its_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_run(synthetic(Shape(2, 4, 2)), folder)
    info = json.loads((folder / "run.json").read_text())
    info["model"].pop("sha256", None)
    (folder / "run.json").write_text(json.dumps(info))
    assert "sha256" not in read_run(folder).info["model"]
    del info["model"]["layers"]
    (folder / "run.json").write_text(json.dumps(info))
    with pytest.raises(SinkscopeError, match=r"'model.layers' is missing"):
        read_run(folder)


def test_a_comparison_without_numbers_of_seeds(tmp_path: Path) -> None:
    folder, one = tmp_path / "run", synthetic(Shape(2, 4, 2, sequences=4))
    write_run(compare_runs([one, synthetic(Shape(2, 4, 2, sequences=4, seed=1))], ["a", "b"], draws=100), folder)
    table = folder / "comparison.parquet"
    pd.read_parquet(table).drop(columns="seeds_needed").to_parquet(table)
    assert read_run(folder)["comparison"]["seeds_needed"].isna().all()
    pd.read_parquet(table).drop(columns="verdict").to_parquet(table)
    with pytest.raises(SinkscopeError, match="lacks the column 'verdict'"):
        read_run(folder)
