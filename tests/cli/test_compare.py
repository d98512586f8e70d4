"""`sinkscope compare` reads runs, analyzes models alike, and refuses in one line what cannot be compared."""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report.synthetic import Shape, synthetic

from sinkscope.analysis.run import analyze
from sinkscope.capture.settings import Settings
from sinkscope.cli import main
from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.comparison.members import Member, _analysis, members
from sinkscope.comparison.settings import ComparisonRequest, ComparisonSettings, LikeFirst
from sinkscope.errors import SinkscopeError
from sinkscope.inputs import TextSource
from sinkscope.tables.run_folder import Run, read_run, write_run

QUICK = ["--draws", "100"]


def saved(folder: Path, seed: int = 0, *, weights: str | None = None, **shape: Any) -> Path:
    run = synthetic(Shape(**{"layers": 3, "sequences": 6, "seed": seed, **shape}))
    model = {**run.info["model"], "weights_sha256": (weights or f"{seed:x}") * 64}
    write_run(Run({**run.info, "model": model}, run.tables), folder)
    return folder


def edited(folder: Path, **values: Any) -> Path:
    """Changes entries of run.json: a dict updates a room, anything else replaces one."""
    file = folder / "run.json"
    info = json.loads(file.read_text())
    for key, value in values.items():
        info[key] = {**info[key], **value} if isinstance(value, dict) else value
    file.write_text(json.dumps(info))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [str(saved(tmp_path / "runs" / name, seed)) for seed, name in enumerate(("first", "second", "third"))]


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the verb, checks that it refuses in one line and leaves nothing behind, and returns the line."""

    def run(*arguments: str, code: int = 2) -> str:
        out = tmp_path / "out" / "comparison"
        assert main(["compare", *arguments, "--out", str(out), *QUICK]) == code
        printed = capfd.readouterr()
        assert printed.out == ""
        said = re.sub(r"\Aplan: .*\n", "", printed.err)  # what fails on the way does so after the plan
        assert said.startswith("sinkscope: ")
        assert said.count("\n") == 1
        assert not out.exists()
        return said

    return run


def test_writes_a_run_folder(runs: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "comparison"
    assert main(["compare", *runs[:2], "--out", str(out), *QUICK]) == 0
    printed = capfd.readouterr()
    assert str(out) in printed.out.splitlines()[-1]
    assert "second" in printed.out
    assert (out / "report.pdf").stat().st_size > 0
    run = read_run(out)
    assert list(run["comparison"]["run"].unique()) == ["first", "second"]
    assert list(run.tables) == ["comparison", "compared_layers", "compared_branches"]


@pytest.mark.usefixtures("undrawn")
def test_json_is_all_that_stdout_holds(runs: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "comparison"
    assert main(["compare", *runs, "--out", str(out), "--json", "--margin", "2", *QUICK]) == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed == json.loads((out / "run.json").read_text())
    assert printed["settings"]["margin"] == 2
    assert [entry["name"] for entry in printed["runs"]] == ["first", "second", "third"]


@pytest.mark.usefixtures("undrawn")
def test_seeds_go_into_one_argument(tmp_path: Path) -> None:
    folders = [saved(tmp_path / f"{name}{seed}", seed, weights=f"{name}{seed}") for name in "ab" for seed in range(3)]
    groups = [",".join(map(str, folders[:3])), ",".join(map(str, folders[3:]))]
    out = tmp_path / "comparison"
    assert main(["compare", f"plain={groups[0]}", f"valved={groups[1]}", "--out", str(out), *QUICK]) == 0
    assert [(entry["name"], entry["seeds"]) for entry in read_run(out).info["runs"]] == [("plain", 3), ("valved", 3)]


@pytest.mark.usefixtures("undrawn")
def test_models_are_analyzed_like_the_first_run(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    """A run folder sets the conditions of the models after it; the bos and the settings too."""
    model = str(tiny_folders["llama_gqa"])
    first = tmp_path / "first"
    asked = ["--sequences", "3", "--tokens", "32", "--bos", "never", "--sink-epsilon", "0.2", "--early", "15",
             "--positions", "24"]  # fmt: skip
    assert main(["analyze", model, "--out", str(first), "--device", "cpu", *asked]) == 0
    out = tmp_path / "comparison"
    assert main(["compare", str(first), f"again={model}", "--out", str(out), "--device", "cpu", *QUICK]) == 0
    info = read_run(out).info
    one, two = (entry["measured"][0] for entry in info["runs"])
    assert one["data"] == two["data"]
    assert one["settings"] == two["settings"]
    assert info["mismatches"] == []
    assert info["headline"]["gradient_sink_median"]["again"]["ratio"] == pytest.approx(1)
    assert info["headline"]["perplexity"]["again"]["verdict"] == "unchanged"


@pytest.mark.usefixtures("undrawn")
def test_models_read_a_text_as_the_first_run_did(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"body": f"document {n} and some more words"}) for n in range(20)))
    options = {"sequences": 2, "tokens": 32, "settings": Settings(sink_window=8, early=7, positions=16)}
    first = analyze(tiny_folders["llama_gqa"], data=TextSource(str(text), column="body"), **options)
    asked = ComparisonRequest(("first", "second"))
    request = _analysis("second", first.run, asked)
    assert request.text == TextSource(str(text), column="body")
    other = _analysis("second", first.run, replace(asked, like=LikeFirst(data="stdlib")))
    assert other.text == TextSource()


def test_models_alone_are_analyzed_alike(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    models = [str(tiny_folders[name]) for name in ("llama_gqa", "qwen2_gqa") if name in tiny_folders]
    arguments = ["--sequences", "2", "--tokens", "24", "--device", "cpu", "--out", str(out), *QUICK]
    assert main(["compare", *models, *arguments]) == 0
    measured = [entry["measured"][0] for entry in read_run(out).info["runs"]]
    assert len(measured) == 2
    assert measured[0]["data"]["sha256"] == measured[1]["data"]["sha256"]
    assert (measured[0]["data"]["sequences"], measured[0]["data"]["tokens"]) == (2, 24)


@pytest.mark.usefixtures("undrawn")
def test_other_layer_counts_work(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = [str(saved(tmp_path / str(layers), layers=layers)) for layers in (2, 5)]
    assert main(["compare", *runs, "--out", str(tmp_path / "out"), *QUICK]) == 0
    assert "relative depth" in " ".join(capfd.readouterr().out.split())


def test_fewer_than_two_runs(refused: Callable[..., str], runs: list[str]) -> None:
    assert "at least two runs" in refused(runs[0])
    assert "at least two runs" in refused(f"a={runs[0]},{runs[1]}")


def test_no_run_and_no_model(refused: Callable[..., str], runs: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "neither a run folder (it has no run.json) nor a model" in refused(runs[0], str(tmp_path / "empty"))
    assert "there is no folder" in refused(runs[0], str(tmp_path / "nothing"), code=1)
    assert "is a file" in refused(runs[0], f"{runs[1]}/run.json")


def test_another_schema(refused: Callable[..., str], runs: list[str]) -> None:
    edited(Path(runs[1]), schema=0)
    line = refused(*runs, code=1)
    assert runs[1] in line
    assert "schema 0" in line


def test_a_missing_table(refused: Callable[..., str], runs: list[str]) -> None:
    (Path(runs[1]) / "sequences.parquet").unlink()
    line = refused(*runs, code=1)
    assert runs[1] in line
    assert "sequences.parquet" in line
    info = json.loads((Path(runs[2]) / "run.json").read_text())
    edited(Path(runs[2]), tables=[table for table in info["tables"] if table != "values"])
    assert "third lacks the table values" in refused(runs[0], runs[2], code=1)


def test_a_comparison_is_no_analysis(refused: Callable[..., str], runs: list[str]) -> None:
    edited(Path(runs[1]), kind="training")
    assert "run.json: 'kind' must be one of ablation, analysis, " in refused(*runs, code=1)
    edited(Path(runs[1]), kind="quantization")
    assert "'models' is missing" in refused(*runs, code=1)


@pytest.mark.usefixtures("undrawn")
def test_other_data_or_settings(refused: Callable[..., str], runs: list[str], tmp_path: Path) -> None:
    edited(Path(runs[1]), data={"sha256": "9" * 64, "source": "corpus.txt"}, settings={"sink_epsilon": 0.2})
    line = refused(*runs)
    for words in ("corpus.txt", "setting sink_epsilon (0.3 and 0.2)", "first and second", "--allow-mismatch"):
        assert words in line
    out = tmp_path / "comparison"
    assert main(["compare", *runs, "--allow-mismatch", "--out", str(out), *QUICK]) == 0
    info = read_run(out).info
    assert len(info["mismatches"]) == 2
    assert not info["paired"]


def test_names_and_sources(refused: Callable[..., str], runs: list[str]) -> None:
    assert "two arguments are named a" in refused(f"a={runs[0]}", f"a={runs[1]}")
    assert "is given twice" in refused(runs[0], f"b={runs[0]}")
    assert "NAME=RUN" in refused(runs[0], f"={runs[1]}")
    assert "NAME=RUN" in refused(runs[0], f"a={runs[1]},")


def test_an_existing_folder_is_left_alone(runs: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    before = pd.read_parquet(Path(runs[2]) / "layers.parquet")
    assert main(["compare", *runs[:2], "--out", runs[2]]) == 2
    assert "--force" in capfd.readouterr().err
    assert before.equals(pd.read_parquet(Path(runs[2]) / "layers.parquet"))


def test_defaults_are_those_of_the_library() -> None:
    defaults = {field.name: field.default for field in fields(ComparisonSettings)}
    library = {name: each.default for name, each in inspect.signature(compare_runs).parameters.items()}
    for name in ("margin", "draws", "seed", "allow_mismatch"):
        assert defaults[name] == library[name], name


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    folders = [saved(tmp_path / path) for path in ("a/demo", "b/demo", "b/other")]
    named = [member.name for member in members([str(folder) for folder in folders])]
    assert named == ["a/demo", "b/demo", "other"]
    assert members(["demo", "Qwen/Qwen3-8B"]) == [Member("demo", "demo"), Member("Qwen3-8B", "Qwen/Qwen3-8B")]
    strange = saved(tmp_path / "a=b")
    assert members([str(strange)])[0].name == "a=b"
    with pytest.raises(SinkscopeError, match="there is no folder"):
        members(["../nothing"])
