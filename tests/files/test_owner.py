"""One owner per place, in one process too; what a killed owner left is cleared away by the next."""

import threading
from pathlib import Path

import pytest

from sinkscope.errors import SinkscopeError
from sinkscope.files.owner import is_owned, lock_of, owned


def test_a_place_is_entered_again_by_its_owner_alone(tmp_path: Path) -> None:
    place, said = tmp_path / "deep" / "run", []

    def other() -> None:
        try:
            with owned(place):
                said.append("owned")
        except SinkscopeError as error:
            said.append(str(error))

    def in_a_thread() -> str:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return said.pop()

    with owned(place):
        with owned(tmp_path / "deep" / ".." / "deep" / "run"):
            assert is_owned(place)
        assert is_owned(place)
        assert "another thread of this process" in in_a_thread()
    assert not is_owned(place)
    assert in_a_thread() == "owned"
    assert not list(tmp_path.iterdir())


def test_a_lock_file_that_a_kill_left_holds_nothing_up(tmp_path: Path) -> None:
    place = tmp_path / "run"
    lock_of(place).write_text('{"process": 1, "host": "gone"}')
    (tmp_path / ".run.0123456789ab.building").mkdir()
    (tmp_path / ".run.ba9876543210.retired").mkdir()
    (tmp_path / ".run.ba9876543210.retired" / "run.json").touch()
    with owned(place):
        assert (place / "run.json").is_file()  # what was moved aside for something that never came
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_nothing_is_owned_where_nothing_is_written(tmp_path: Path) -> None:
    with owned(None), owned(tmp_path / "run", here=False):
        assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkscopeError, match=r"cannot write .*file/run"), owned(tmp_path / "file" / "run"):
        pass
