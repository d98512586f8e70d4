"""Killed before any change of the disk, a run is the old one or the new one: never neither, never some of each.

The changes are counted in an undisturbed process first. `KILLS=all` strikes every one of them, and by default a sample.
"""

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import killed
import pytest
from forks import Server

from sinkscope.analysis.journal import Journal
from sinkscope.files.listed import foreign, walked
from sinkscope.tables.run_folder import write_run

SAMPLE = 6  # kills of each kind


def written(place: Path, version: str) -> None:
    write_run(killed.run_of(version), place, finish=lambda folder: killed.draw(version, folder))


def version_of(place: Path) -> str:
    """The version that everything in a run says it is."""
    run = killed.stored(place)
    texts = [path.read_text() for path in (*place.glob("figures/*"), *place.glob("report.*"))]
    assert len(texts) == 4
    found = {run.info["kind"], *run["one"]["version"], *run["two"]["of"], *texts}
    assert len(found) == 1, found
    return str(found.pop())


def reports_of(place: Path) -> str:
    """The version of a report, the tables being the old ones."""
    assert list(killed.stored(place)["one"]["version"]) == ["old"]
    found = {path.read_text() for path in (*place.glob("figures/*.png"), *place.glob("report.*"))}
    assert len(found) == 1, found
    assert (place / "figures" / "mine.svg").read_text() == (place / "notes.txt").read_text() == "mine"
    return found.pop()


def changes(forks: Server, target: str, place: Path) -> int:
    undisturbed = forks.start(f"killed:{target}", str(place), "new", 0)
    assert undisturbed.wait() == 0, undisturbed.err
    return len(undisturbed.out.splitlines())


def moments(count: int) -> list[int]:
    every = list(range(1, count + 1))
    return every if os.environ.get("KILLS") == "all" else sorted(random.Random(count).sample(every, SAMPLE))


@pytest.mark.parametrize(("target", "version"), [("replaces", version_of), ("redraws", reports_of)])
def test_the_old_or_the_new_run_stands(
    forks: Server, tmp_path: Path, target: str, version: Callable[[Path], str]
) -> None:
    def begun(name: str) -> Path:
        place = tmp_path / name / "run"
        written(place, "old")
        if target == "redraws":
            (place / "figures" / "mine.svg").write_text("mine")
            (place / "notes.txt").write_text("mine")
        return place

    count = changes(forks, target, begun("count"))
    assert version(tmp_path / "count" / "run") == "new"
    seen = set()
    for at in moments(count):
        place = begun(str(at))
        assert forks.start(f"killed:{target}", str(place), "new", at).wait() == -signal.SIGKILL
        seen.add(version(place))
        again = forks.start(f"killed:{target}", str(place), "new", 0)
        assert again.wait() == 0, again.err
        assert version(place) == "new"
        assert [path.name for path in place.parent.iterdir()] == ["run"]
        assert foreign(place) == ([] if target == "replaces" else ["figures/mine.svg", "notes.txt"])
        assert len(walked(place)) == (8 if target == "replaces" else 10)
    assert seen <= {"old", "new"}
    print(f"{target}: {count} changes, {len(moments(count))} kills")


def test_a_saved_state_is_whole(forks: Server, tmp_path: Path) -> None:
    count = changes(forks, "keeps", tmp_path / "count" / "run")
    for at in moments(count):
        place = tmp_path / str(at) / "run"
        assert forks.start("killed:keeps", str(place), "", at).wait() == -signal.SIGKILL
        saved = Journal(place, {"any": 1}, resume=True, force=False).load()
        assert saved is None or len(saved.losses) == saved.done
        again = forks.start("killed:keeps", str(place), "", 0)
        assert again.wait() == 0, again.err
        assert not place.parent.exists() or not list(place.parent.iterdir())
    print(f"keeps: {count} changes, {len(moments(count))} kills")


def test_a_training_ends_in_the_same_bits(forks: Server, recipe_file: Path, tmp_path: Path) -> None:
    """Killed once from nothing, and once more as it resumes."""

    def ends(name: str, at: int) -> list[str]:
        """Trains below a name, killed before that change; the changes that were begun."""
        (tmp_path / name).mkdir(exist_ok=True)
        run = forks.start("killed:trains", str(tmp_path / name / "out"), str(recipe_file), at)
        assert run.wait() == (-signal.SIGKILL if at else 0), run.err
        return run.out.splitlines()

    def made(name: str) -> dict[str, bytes]:
        out = tmp_path / name / "out"
        kept = [out / "metrics.parquet", *(out / "model").iterdir()]
        return {path.name: path.read_bytes() for path in kept}

    count, chance = len(ends("whole", 0)), random.Random(1)
    for at in moments(count):
        ends(str(at), at)
        shutil.copytree(tmp_path / str(at), tmp_path / f"{at}-twice")
        left = len(ends(str(at), 0))
        assert made(str(at)) == made("whole")
        ends(f"{at}-twice", chance.randint(1, left) if left else 0)
        ends(f"{at}-twice", 0)
        assert made(f"{at}-twice") == made("whole")
    print(f"trains: {count} changes, {2 * len(moments(count))} kills")


def test_of_two_processes_on_one_place_the_second_is_refused(forks: Server, tmp_path: Path) -> None:
    for attempt in range(50 if os.environ.get("KILLS") == "all" else 4):
        place, note = tmp_path / "run", tmp_path / "working"
        both = [forks.start("killed:holds", str(place), str(note)) for _ in range(2)]
        both[0].server.code(both[0].pid)
        second = both[0]
        while second.code is None and both[1].code is None:
            pass
        second, first = (both[0], both[1]) if both[0].code is not None else (both[1], both[0])
        assert second.wait() == 3
        assert f"is being written by process {first.pid} on " in second.err
        assert second.err.count("\n") == 1
        if attempt % 2:
            first.signal(signal.SIGKILL)
            assert first.wait() == -signal.SIGKILL
        note.unlink()
        assert first.wait() in (0, -signal.SIGKILL)
    last = forks.start("killed:holds", str(tmp_path / "run"), str(tmp_path / "working"))
    last.wait_until((tmp_path / "working").exists, "its note")
    (tmp_path / "working").unlink()
    assert last.wait() == 0
    assert not list(tmp_path.iterdir())
