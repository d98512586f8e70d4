"""What a launcher told counts only where all of it is there, and where it makes sense."""

import pytest

from sinkscope.cli import main
from sinkscope.errors import RequestError
from sinkscope.launch.environment import is_main_process, process_count

TOLD = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("stray", [{}, {"RANK": "1"}, {"RANK": "1", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "x"}])
def test_a_stray_rank_means_nothing(
    told: pytest.MonkeyPatch, stray: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the work would be done, and nothing of it written or said."""
    for name, value in stray.items():
        told.setenv(name, value)
    assert (is_main_process(), process_count()) == (True, 1)
    assert main(["families"]) == 0
    assert "llama" in capsys.readouterr().out


def test_a_launcher(told: pytest.MonkeyPatch) -> None:
    for name, value in TOLD.items():
        told.setenv(name, value)
    assert (is_main_process(), process_count()) == (False, 2)
    told.setenv("RANK", "0")
    assert is_main_process()


@pytest.mark.parametrize(
    "odd", [{"WORLD_SIZE": "x"}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "-1"}, {"RANK": "2"}, {"RANK": "one"}, {"RANK": ""}]
)
def test_nonsense_is_one_line(
    told: pytest.MonkeyPatch, odd: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**TOLD, **odd}.items():
        told.setenv(name, value)
    with pytest.raises(RequestError, match="unset both, or use a launcher"):
        process_count()
    assert main(["families"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sinkscope: the environment says that this is process RANK='")
