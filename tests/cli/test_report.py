"""`sinkscope report` draws a run's report again, from its tables alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report.synthetic import Shape, synthetic

import sinkscope
from sinkscope.cli import main
from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.errors import SinkscopeError
from sinkscope.files.listed import write_list
from sinkscope.report.render import entries
from sinkscope.tables.run_folder import read_run, write_run

SHAPE = Shape(2, 2, 1, tokens=12, sequences=2)
ROOT = str(Path(sinkscope.__file__).parents[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(synthetic(SHAPE), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    runs = [synthetic(Shape(2, 2, 1, tokens=12, sequences=2, seed=seed)) for seed in range(2)]
    write_run(compare_runs(runs, ["a", "b"], draws=100), tmp_path / "comparison")
    return tmp_path / "comparison"


def test_in_place_without_torch(compared: Path) -> None:
    """In a process where importing torch or transformers fails."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; "
        f"from sinkscope.cli import main; sys.exit(main(['report', {str(compared)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(compared / name) for name in ("figures", "report.html", "report.pdf")]
    found = read_run(compared)
    assert {path.stem for path in (compared / "figures").iterdir()} == {entry.name for entry in entries(found)}
    assert [path.name for path in compared.parent.iterdir()] == ["comparison"]


@pytest.mark.usefixtures("one_page")
def test_only_what_was_asked_for(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "report"
    assert main(["report", str(folder), "--format", "html", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"report.html", ".files.json"}
    assert capfd.readouterr().out.split() == [str(out / "report.html")]
    assert not (folder / "report.pdf").exists()


@pytest.mark.usefixtures("one_page")
def test_older_reports_are_replaced(folder: Path) -> None:
    (folder / "figures").mkdir()
    (folder / "figures" / "stale.png").write_bytes(b"")
    write_list(folder)
    (folder / "figures" / "mine.png").write_bytes(b"drawn by hand")
    assert main(["report", str(folder), "--format", "png"]) == 0
    assert not (folder / "figures" / "stale.png").exists()
    assert (folder / "figures" / "mine.png").read_bytes() == b"drawn by hand"
    assert (folder / "layers.parquet").is_file()


@pytest.mark.usefixtures("one_page")
def test_an_existing_folder_needs_force(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("kept")
    assert main(["report", str(folder), "--format", "pdf", "--out", str(out)]) == 2
    assert "--force" in capfd.readouterr().err
    assert main(["report", str(folder), "--format", "pdf", "--out", str(out), "--force"]) == 0
    assert {path.name for path in out.iterdir()} == {"notes.txt", "report.pdf", ".files.json"}
    assert (out / "notes.txt").read_text() == "kept"
    first = (out / "report.pdf").stat().st_ino
    assert main(["report", str(folder), "--format", "pdf", "--out", str(out), "--force"]) == 0
    assert (out / "report.pdf").stat().st_ino != first


@pytest.mark.usefixtures("one_page")
def test_a_report_of_somebody_else_is_left_alone(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "paper"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "my-plot.svg").write_text("mine")
    (out / "report.pdf").write_text("mine")
    force = ["--out", str(out), "--force"]
    assert main(["report", str(folder), "--format", "png,pdf", *force]) == 2
    assert "'report.pdf' of somebody else: choose another --out" in capfd.readouterr().err
    assert sorted(path.name for path in out.rglob("*")) == ["figures", "my-plot.svg", "report.pdf"]
    assert main(["report", str(folder), "--format", "png", *force]) == 0
    assert (out / "figures" / "my-plot.svg").read_text() == (out / "report.pdf").read_text() == "mine"
    assert len(list((out / "figures").glob("*.png"))) == 1
    (tmp_path / "link").symlink_to(out, target_is_directory=True)
    assert main(["report", str(folder), "--format", "html", "--out", str(tmp_path / "link"), "--force"]) == 2
    assert "is a link" in capfd.readouterr().err


def test_a_failure_leaves_the_older_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "report.pdf").write_bytes(b"older")
    before = sorted(folder.parent.rglob("*"))

    def fail(*_: object) -> None:
        raise SinkscopeError("no ink")

    monkeypatch.setattr("sinkscope.report.redraw.render", fail)
    assert main(["report", str(folder), "--format", "pdf"]) == 1
    assert (folder / "report.pdf").read_bytes() == b"older"
    assert sorted(folder.parent.rglob("*")) == before


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: str, code: int = 2) -> str:
        assert main(["report", *arguments]) == code
        printed = capfd.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return run


def test_refusals(refused: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    assert "not as gif" in refused(str(folder), "--format", "pdf,gif")
    assert "not as nothing" in refused(str(folder), "--format", "")
    assert "is not a run folder" in refused(str(tmp_path / "nothing"))
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "kind": "baking"}))
    assert "'kind' must be one of ablation, analysis, " in refused(str(folder), code=1)
    (folder / "run.json").write_text(json.dumps({**info, "schema": 99}))
    assert "schema 99" in refused(str(folder), code=1)
    (folder / "run.json").write_text(json.dumps(info))
    (folder / "heads.parquet").unlink()
    assert "heads.parquet" in refused(str(folder), code=1)
