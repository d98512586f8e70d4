"""Spilled states: nobody else's are used, damaged ones are computed again, and nothing stays behind."""

import os
from pathlib import Path

import pytest
import torch
from forks import Server
from safetensors.torch import load_file, save_file
from test_layer_by_layer_resume import Attempt, attempt  # noqa: F401  (a fixture)

from sinkscope.analysis.drivers.spilled import OnDisk, named_by
from sinkscope.analysis.journal import Journal
from sinkscope.files.sealed import write_sealed

X = torch.arange(6.0).reshape(2, 3)


def test_states_come_back_and_are_gone_at_the_end(tmp_path: Path) -> None:
    kept = OnDisk(tmp_path / "spill")
    for x in (X, X.to(torch.bfloat16), X.T):
        kept.put(("state", 0, 1), x)
        assert kept.has(("state", 0, 1))
        assert torch.equal(kept.get(("state", 0, 1)), x)
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    kept.close()
    assert not list((tmp_path / "spill").iterdir())


def test_what_is_left_is_checked_before_it_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    note = tmp_path / "note.json"
    first = OnDisk(tmp_path, note)
    for batch in range(5):
        first.put(("state", 2, batch), X)
    first.leave()
    files = [first.folder / f"state-2-{batch}.safetensors" for batch in range(5)]
    save_file({"x": load_file(files[0])["x"] * 3}, files[0])  # whole, and with another content
    os.truncate(files[1], files[1].stat().st_size - 9)
    files[2].unlink()
    files[2].symlink_to(files[3])
    second = OnDisk(tmp_path, note)
    assert second.folder == first.folder
    assert [second.has(("state", 2, batch)) for batch in range(5)] == [False, False, False, True, True]
    assert [str(file) in caplog.text for file in files] == [True, True, False, False, False]
    second.close()
    assert not list(tmp_path.iterdir())


def test_a_planted_folder_is_not_used(tmp_path: Path) -> None:
    note, victim = tmp_path / "note.json", tmp_path / "victim"
    victim.mkdir()
    (victim / "state-0-0.safetensors").touch()
    planted = tmp_path / "sinkscope-planted"
    planted.symlink_to(victim, target_is_directory=True)
    for folder in (planted, victim, tmp_path / "sinkscope-none"):
        write_sealed(note, {"folder": str(folder)})
        kept = OnDisk(tmp_path, note)
        assert kept.folder not in (planted, victim)
        assert named_by(note) == kept.folder
        kept.put(("state", 1, 0), X)
        kept.close()
    assert [path.name for path in victim.iterdir()] == ["state-0-0.safetensors"]


def test_folders_of_killed_processes_are_removed_unless_a_journal_names_them(tmp_path: Path, forks: Server) -> None:
    note = tmp_path / "note.json"
    for named in (str(note), ""):
        assert forks.start("spills:spills_and_dies", str(tmp_path / "spill"), named).wait() < 0
    folders = [path for path in (tmp_path / "spill").iterdir() if path.is_dir()]
    assert len(folders) == 2
    other = OnDisk(tmp_path / "spill")
    left = {path for path in (tmp_path / "spill").iterdir() if path.is_dir()}
    assert left == {other.folder, named_by(note)}
    other.close()
    note.unlink()
    OnDisk(tmp_path / "spill").close()
    assert not [path for path in (tmp_path / "spill").iterdir() if path.is_dir()]


def test_force_uses_nothing_of_an_earlier_analysis(attempt: Attempt, tmp_path: Path) -> None:  # noqa: F811
    spill, out = tmp_path / "spill", tmp_path / "run"
    assert attempt(out, at=14, spill=spill) is None
    assert [path for path in spill.iterdir() if path.is_dir()]
    Journal(out, {"another": "request"}, resume=False, force=True)
    assert not [path for path in spill.iterdir() if path.is_dir()]
    assert not (tmp_path / ".run.analysis").exists()
