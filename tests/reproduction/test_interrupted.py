"""A reproduction that is killed, interrupted or started twice: it goes on to the same bits, and says what to do."""

import shutil
import signal
from pathlib import Path

import forks as forking
import pandas as pd
import pytest

from sinkscope.files.owner import owned

pytestmark = pytest.mark.slow
INTERRUPTED = "interrupted: the same command with {} goes on from here"
SHORT = ["--sequences", "4", "--tokens", "24"]


def tables_below(place: Path) -> dict[str, pd.DataFrame]:
    """Every table below a place, models by the end of their names, commands left out."""
    tables = {}
    for path in sorted(place.rglob("*.parquet")):
        table = pd.read_parquet(path)
        for column in ("model", "other_model"):
            if column in table:
                table[column] = table[column].str.replace(str(place), "", regex=False)
        tables[path.relative_to(place).as_posix()] = table.drop(columns="command", errors="ignore")
    return tables


@pytest.mark.parametrize("at", ["training", "analysis", "report"])
def test_a_killed_one_goes_on_to_the_same_bits(
    at: str, recipes: tuple[str, str, str], forks: forking.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(out: str, when: str, resume: bool) -> int:
        folder = tmp_path / out
        folder.mkdir(exist_ok=True)
        return forks.start("victims:reproduces_and_dies", list(recipes), str(folder / "out"), when, resume).wait()

    assert run("killed", at, False) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "out" / "report").exists()
    assert run("killed", "never", True) == 0
    assert run("straight", "never", False) == 0
    tables = [tables_below(tmp_path / name / "out") for name in ("killed", "straight")]
    assert tables[0].keys() == tables[1].keys()
    for name, table in tables[0].items():
        pd.testing.assert_frame_equal(table, tables[1][name], check_exact=True)


@pytest.mark.parametrize(
    ("at", "how"),
    [
        ("track", "SIGINT"),
        ("quantization", "SIGKILL"),
        ("evaluation", "SIGINT"),
        ("comparison", "SIGKILL"),
        ("saving", "SIGINT"),
    ],
)
def test_stages_behind_the_trainings_do_too(
    at: str,
    how: str,
    recipes: tuple[str, str, str],
    whole: Path,
    forks: forking.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "out"
    shutil.copytree(whole / "train", place / "train")

    def run(when: str) -> forking.Forked:
        return forks.start("victims:reproduces_and_dies", list(recipes), str(place), when, True, how)

    ended = run(at)
    assert ended.wait() == (1 if how == "SIGINT" else -signal.SIGKILL)
    if how == "SIGINT":
        assert ended.err.splitlines()[-1] == INTERRUPTED.format("`resume`")
        assert "Traceback" not in ended.err
    again = run("never")
    assert again.wait() == 0, again.err
    expected = tables_below(whole)
    found = tables_below(place)
    assert found.keys() == expected.keys()
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, expected[name], check_exact=True)
    assert _hidden(place) == _hidden(whole), "nothing of what was being made is left"


def _hidden(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob(".*")}


def test_ctrl_c_is_one_line_of_the_command(
    forks: forking.Server, tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["reproduce", "--model", str(tiny_folders["llama_gqa"]), *SHORT, "--out", str(tmp_path / "out")]
    pressed = forks.start("victims:is_interrupted_quantizing", arguments)
    assert pressed.wait() == 1
    assert pressed.err.splitlines()[-1] == "sinkscope: " + INTERRUPTED.format("--resume")
    assert pressed.out == ""
    assert (tmp_path / "out" / "analyze").is_dir(), "what was finished stays"
    assert not (tmp_path / "out" / "report").exists()


def test_a_second_process_is_refused_and_touches_nothing(
    whole: Path, recipes: tuple[str, str, str], forks: forking.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "out"
    shutil.copytree(whole, place)
    (place / "report" / "claims.csv").unlink()  # there is something to do
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    with owned(place):
        second = forks.start("victims:reproduces_and_dies", list(recipes), str(place), "never", True)
        assert second.wait() == 1
    said = second.err.splitlines()[-1]
    assert "is being written by process" in said
    assert said.endswith("wait for it, or choose another `out`")
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before
