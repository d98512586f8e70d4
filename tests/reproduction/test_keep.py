"""What `reports/keep.py` takes over of a reproduction: report, run.json, README and tables, but nothing large."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "reports" / "keep.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("keep", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(runs: Path, name: str, scale: str | None, kind: str = "reproduction") -> Path:
    folder = runs / name / "report"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"kind": kind, "scale": scale, "runs": [{"recipe": "a-model"}]}))
    for file in ("README.md", "report.pdf", "report.html", "claims.parquet", "claims.csv"):
        (folder / file).write_text(f"{file} of {name}")
    (folder / "figures").mkdir()
    return folder


def test_a_reproduction_is_kept_under_its_scale_or_model(script: ModuleType, tmp_path: Path) -> None:
    runs, here = tmp_path / "runs", tmp_path / "reports"
    trio, one = made(runs, "any", "mini"), made(runs, "other", None)
    made(runs, "finetuned", None, kind="comparison")
    assert script.reproductions(runs) == [trio, one]
    lines = [line for report in script.reproductions(runs) for line in script.keep_reproduction(report, here)]
    kept = {"README.md", "report.pdf", "run.json", "claims.parquet", "claims.csv"}
    for name, title in (("any", "mini"), ("other", "a-model")):
        folder = here / "reproduction" / title
        assert {path.name for path in folder.iterdir()} == kept
        assert (folder / "claims.csv").read_text() == f"claims.csv of {name}"
    assert len(lines) == 2 * len(kept)


def test_what_is_large_is_named_and_not_kept(script: ModuleType, tmp_path: Path) -> None:
    report, here = made(tmp_path / "runs", "any", "mini"), tmp_path / "reports"
    script.keep_reproduction(report, here)
    (report / "claims.csv").write_bytes(b"x" * (script.LARGEST + 1))
    lines = script.keep_reproduction(report, here)
    assert [line for line in lines if "too large" in line] == [
        "reproduction/mini/claims.csv: 256.0 KiB, too large to be committed"
    ]
    assert not (here / "reproduction" / "mini" / "claims.csv").exists(), "that of an earlier run"
