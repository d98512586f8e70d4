"""Processes of one analysis may remove the same folder at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sinkscope.files.beside import remove


def test_a_folder_that_others_remove_too(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for attempt in range(20):
            folder = tmp_path / str(attempt)
            for number in range(40):
                (folder / str(number % 4)).mkdir(parents=True, exist_ok=True)
                (folder / str(number % 4) / f"state-{number}.pt").touch()
            list(pool.map(remove, [folder] * 4))
            assert not folder.exists()
