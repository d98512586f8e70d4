"""Whatever has a name is whole: after a failure, after a kill, and on the disk before it has the name."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from sinkscope.analysis.drivers.spilled import OnDisk
from sinkscope.errors import SinkscopeError
from sinkscope.files import (
    building_file,
    building_folder,
    check_room,
    move_into_place,
    remove_leftovers,
    whole,
    write_json,
    write_text,
)
from sinkscope.files.beside import free_name, recover
from sinkscope.tables.run_folder import Run, write_run

TOKEN = "0123456789ab"  # noqa: S105  (a part of a name)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _half(path: Path) -> None:
    path.write_text('{"done"')
    raise RuntimeError("on the way")


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is put on the disk and what is renamed, in order."""
    done: list[str] = []
    sync, rename, exchange = os.fsync, Path.rename, whole.exchanged

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        done.append(f"rename {self.name} {target.name}")
        return rename(self, target)

    def replaced(self: Path, target: Path) -> Path:
        done.append(f"replace {self.name} {target.name}")
        return rename(self, target)

    def changed(one: Path, other: Path) -> bool:
        done.append(f"exchange {one.name} {other.name}")
        return exchange(one, other)

    monkeypatch.setattr(whole.os, "fsync", synced)
    monkeypatch.setattr(whole, "exchanged", changed)
    monkeypatch.setattr("sinkscope.files.beside.secrets.token_hex", lambda _: TOKEN)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(Path, "replace", replaced)
    return done


def test_a_file_that_fails_on_the_way_leaves_the_older_one(tmp_path: Path) -> None:
    place = tmp_path / "note.json"
    write_json(place, {"done": 1})
    with pytest.raises(RuntimeError, match="on the way"), building_file(place) as building:
        _half(building)
    assert json.loads(place.read_text()) == {"done": 1}
    write_text(place, "null")
    assert place.read_text() == "null"
    assert names(tmp_path) == ["note.json"]


def test_a_folder_that_fails_on_the_way_leaves_the_older_one(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "model"
    with building_folder(place) as building:
        (building / "old").touch()
    with pytest.raises(RuntimeError, match="on the way"), building_folder(place) as building:
        _half(building / "new")
    assert names(place.parent) == ["model", "model/old"]
    with building_folder(place) as building:
        (building / "new").touch()
    assert names(place.parent) == ["model", "model/new"]


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system in which two names cannot change places."""
    monkeypatch.setattr(whole, "exchanged", lambda *_: False)


@pytest.mark.usefixtures("no_exchange")
def test_an_older_folder_is_put_back_where_the_new_one_cannot_be_moved_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "model"
    with building_folder(place) as building:
        (building / "old").touch()
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".building"):
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="no"), building_folder(place) as building:
        (building / "new").touch()
    assert names(tmp_path) == ["model", "model/old"]
    monkeypatch.undo()
    whole_place = place.rename(free_name(place, "retired"))  # as a kill between the two renames leaves it
    recover(place)
    assert names(tmp_path) == ["model", "model/old"]
    assert not whole_place.exists()


@pytest.mark.usefixtures("no_exchange")
def test_without_an_exchange_a_folder_is_replaced_in_two_steps(tmp_path: Path) -> None:
    place = tmp_path / "model"
    for name in ("old", "new"):
        with building_folder(place) as building:
            (building / name).touch()
    assert names(tmp_path) == ["model", "model/new"]


def test_a_link_to_a_folder_gives_way_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "inside").touch()
    (tmp_path / "run").symlink_to(tmp_path / "kept", target_is_directory=True)
    with building_folder(tmp_path / "run") as building:
        (building / "new").touch()
    assert not (tmp_path / "run").is_symlink()
    assert names(tmp_path) == ["kept", "kept/inside", "run", "run/new"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of open files come from /proc")
def test_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path, log: list[str]) -> None:
    new = f"{TOKEN}.building"
    with building_file(tmp_path / "a") as building:
        building.touch()
    assert log == [f"sync .a.{new}", f"replace .a.{new} a", f"sync {tmp_path.name}"]
    log.clear()
    with building_folder(tmp_path / "b") as building:
        (building / "inner").mkdir()
        (building / "inner" / "file").touch()
    whole = ["sync file", "sync inner", f"sync .b.{new}"]
    assert log == [*whole, f"replace .b.{new} b", f"sync {tmp_path.name}"]
    log.clear()
    with building_folder(tmp_path / "b"):
        pass
    assert log == [f"sync .b.{new}", f"exchange .b.{new} b", f"sync {tmp_path.name}"]
    log.clear()
    with building_file(tmp_path / "a", sync=False) as building:
        building.touch()
    assert log == [f"replace .a.{new} a"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of open files come from /proc")
def test_boundary_states_are_put_on_the_disk_where_another_process_may_go_on_from_them(
    tmp_path: Path, log: list[str]
) -> None:
    for note in (None, tmp_path / "note.json"):
        kept = OnDisk(tmp_path, note)
        log.clear()
        kept.put(("h", 0, 0), torch.ones(2))
        assert bool([line for line in log if line.startswith("sync")]) == (note is not None)
        kept.close()
    assert names(tmp_path) == []


def test_permissions_are_those_of_any_new_file_and_folder(tmp_path: Path, umask: int) -> None:
    with building_folder(tmp_path / "folder") as building:
        (building / "file").touch()
    write_text(tmp_path / "file", "")
    write_run(Run({}, {"any": pd.DataFrame({"x": [1]})}), tmp_path / "run", finish=lambda at: (at / "figures").mkdir())
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in names(tmp_path)}
    run = {"run", "run/any.parquet", "run/run.json", "run/figures", "run/.files.json"}
    assert modes.keys() == {"folder", "folder/file", "file", *run}
    for name, mode in modes.items():
        assert mode == (0o777 if (tmp_path / name).is_dir() else 0o666) & ~umask, name


def _killed(place: Path) -> None:
    with building_folder(place) as building:
        (building / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    child = multiprocessing.get_context("spawn").Process(target=_killed, args=(place,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    left = names(tmp_path)[0]
    assert left.startswith(".run.")
    assert left.endswith(".building")
    assert names(tmp_path) == [left, f"{left}/half", "run"]
    (tmp_path / f".run.{TOKEN}.retired").mkdir()
    kept = [f".other.{TOKEN}.building", ".run.analysis", ".run.x.building", f".run.{TOKEN}.building.txt",
            f"run.{TOKEN}.building", f".run.b.{TOKEN}x.building"]  # fmt: skip
    for name in kept:
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path, "run")
    assert names(tmp_path) == sorted([*kept, "run"])
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*kept[1:], "run"])


def test_a_file_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").mkdir()
    (tmp_path / "drawn").write_text("pages")
    move_into_place(tmp_path / "drawn", tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_text() == "pages"
    assert names(tmp_path) == ["report.pdf"]


def test_what_would_not_fit_is_refused(tmp_path: Path) -> None:
    check_room(tmp_path, 1, "a checkpoint", "free some")
    with pytest.raises(SinkscopeError, match=r"too little disk for a checkpoint: it needs 1073741824\.00 GiB.*: free"):
        check_room(tmp_path, 2**60, "a checkpoint", "free some")
