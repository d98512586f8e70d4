"""Only what a folder's own list names is replaced; the rest is named, and stays."""

import os
from pathlib import Path

import killed
import pytest

from sinkscope.errors import RequestError
from sinkscope.files.listed import LIST, foreign, listed, remove_listed, write_list
from sinkscope.files.renewed import renew
from sinkscope.tables.run_folder import write_run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_run(killed.run_of("old"), tmp_path / "run", finish=lambda folder: killed.draw("old", folder))
    return tmp_path / "run"


def replace(place: Path) -> None:
    write_run(killed.run_of("new"), place, force=True)


def test_a_run_of_ours_is_replaced(place: Path) -> None:
    replace(place)
    assert killed.stored(place).info["kind"] == "new"
    assert not (place / "figures").exists()


@pytest.mark.parametrize("name", ["notes.md", "figures/mine.png", ".hidden", "deep/er/x"])
def test_a_file_of_the_users_is_named_and_everything_stays(place: Path, name: str) -> None:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_text("mine")
    with pytest.raises(RequestError, match=rf"holds '{name}', which sinkscope did not write there"):
        replace(place)
    assert (place / name).read_text() == "mine"
    assert killed.stored(place).info["kind"] == "old"


def test_a_folder_that_merely_has_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "run.json").write_text("{}")
    (mine / "thesis.tex").write_text("thesis")
    with pytest.raises(RequestError, match="has no list of the files that sinkscope wrote"):
        replace(mine)
    (mine / LIST).write_text('{"files": ["run.json", "thesis.tex"]}')  # a list without its hash names nothing
    with pytest.raises(RequestError, match="has no list"):
        replace(mine)
    assert (mine / "thesis.tex").read_text() == "thesis"


def test_links_are_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place, target_is_directory=True)
    with pytest.raises(RequestError, match="is a link"):
        replace(tmp_path / "link")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")
    with pytest.raises(RequestError, match="is a link"):
        replace(tmp_path / "nowhere")
    (place / "report.pdf").unlink()
    (place / "report.pdf").symlink_to(tmp_path / "elsewhere")  # on the list by its name
    with pytest.raises(RequestError, match=r"holds 'report\.pdf'"):
        replace(place)


def test_an_empty_folder_is_a_place(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_run(killed.run_of("new"), tmp_path / "run")
    assert killed.stored(tmp_path / "run").info["kind"] == "new"


def test_names_that_only_the_list_knows_lead_nowhere(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("kept")
    folder.mkdir()
    (folder / "own").touch()
    write_list(folder, ["own", "../victim", str(victim)])
    assert foreign(folder) == []
    assert remove_listed(folder)
    assert victim.read_text() == "kept"


def test_what_came_while_a_run_was_replaced_is_kept_and_named(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(killed.run_of("new"), place, force=True, finish=lambda _: (place / "late.txt").write_text("mine"))  # type: ignore[arg-type,return-value]
    assert killed.stored(place).info["kind"] == "new"
    [kept] = [path for path in tmp_path.iterdir() if path != place]
    assert (kept / "late.txt").read_text() == "mine"
    assert str(kept) in caplog.text


@pytest.mark.parametrize("linked", [True, False])
def test_renewing_keeps_what_is_not_ours(place: Path, monkeypatch: pytest.MonkeyPatch, linked: bool) -> None:
    if not linked:  # a disk without second names
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError("no")))
    (place / "figures" / "mine.svg").write_text("mine")
    (place / "empty").mkdir(mode=0o700)
    (place / "away").symlink_to("figures/mine.svg")
    built = place.parent / "built"
    (built / "figures").mkdir(parents=True)
    (built / "figures" / "a.png").write_text("new")
    renew(place, built)
    assert (place / "figures" / "a.png").read_text() == "new"
    assert not (place / "figures" / "b.png").exists()  # ours, and not drawn again
    assert (place / "figures" / "mine.svg").read_text() == (place / "away").read_text() == "mine"
    assert (place / "empty").stat().st_mode & 0o777 == 0o700
    assert (place / "report.pdf").read_text() == "old"
    assert listed(place) == {
        "figures/a.png",
        "one.parquet",
        "two.parquet",
        "report.html",
        "report.pdf",
        "run.json",
        LIST,
    }
    (built / "figures").mkdir(exist_ok=True)
    (built / "figures" / "mine.svg").write_text("new")
    with pytest.raises(RequestError, match=r"'figures/mine\.svg' of somebody else"):
        renew(place, built)
