"""What a launcher told counts only where all of it is there, and where it makes sense."""

import os

import pytest
from accelerate.state import AcceleratorState

from sinkscope.cli import main
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.launch.environment import is_main_process, process_count, without_a_stray_rank
from sinkscope.training.engine import make_accelerator

TOLD = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*TOLD, "LOCAL_RANK"):
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


def test_a_local_rank_that_is_no_number_is_one_line(told: pytest.MonkeyPatch) -> None:
    for name, value in {**TOLD, "LOCAL_RANK": "x"}.items():
        told.setenv(name, value)
    with pytest.raises(RequestError, match="LOCAL_RANK='x' of its machine: unset it"):
        process_count()


@pytest.mark.parametrize("stray", ["x", "0", "1"])
def test_a_stray_local_rank_means_nothing_to_a_training(told: pytest.MonkeyPatch, stray: str) -> None:
    told.setenv("LOCAL_RANK", stray)
    with without_a_stray_rank():
        assert "LOCAL_RANK" not in os.environ
    assert make_accelerator(precision="float32", device="cpu").num_processes == 1
    assert os.environ["LOCAL_RANK"] == stray


@pytest.mark.parametrize(
    ("name", "value"), [("PMI_SIZE", "x"), ("ACCELERATE_USE_CPU", "banana"), ("ACCELERATE_TORCH_DEVICE", "banana")]
)
def test_what_accelerate_cannot_read_is_one_line(told: pytest.MonkeyPatch, name: str, value: str) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    told.setenv(name, value)
    with pytest.raises(SinkscopeError, match=f"accelerate cannot start .* {name}='{value}': "):
        make_accelerator(precision="float32")
    AcceleratorState._reset_state(reset_partial_state=True)
