"""Processes on one machine share its cores, unless somebody chose a number of threads."""

import pytest
import torch

from sinkscope.launch import threads
from sinkscope.launch.threads import share_cores, threads_of

LAUNCHED = {"TORCHELASTIC_RUN_ID": "none", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("environment", "cores", "expected"),
    [
        ({}, 16, None),  # alone
        ({"LOCAL_WORLD_SIZE": "1", **LAUNCHED}, 16, None),
        ({"LOCAL_WORLD_SIZE": "4"}, 16, 4),  # torch's own choice would be 16 threads in each
        ({"LOCAL_WORLD_SIZE": "4", **LAUNCHED}, 16, 4),  # the launcher's own choice is 1
        ({"LOCAL_WORLD_SIZE": "4", **LAUNCHED}, 2, 1),
        ({"LOCAL_WORLD_SIZE": "3", **LAUNCHED}, 16, 5),
        ({"LOCAL_WORLD_SIZE": "4", **LAUNCHED, "OMP_NUM_THREADS": "2"}, 16, None),  # a user's choice
        ({"LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "1"}, 16, None),
        ({"LOCAL_WORLD_SIZE": "many"}, 16, None),
    ],
)
def test_each_takes_its_part(environment: dict[str, str], cores: int, expected: int | None) -> None:
    assert threads_of(environment, cores) == expected


def test_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    monkeypatch.setattr(threads, "_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    share_cores()
    assert told == []
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    share_cores()
    assert told == [3]
