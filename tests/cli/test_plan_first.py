"""The plan stands before the work: a verb loads, reads and tries before it says how long it will take, and no more."""

from pathlib import Path

import pytest
import tiny

from sinkscope.cli import main
from sinkscope.progress.stages import Stages

PLAN = "the plan"
SMALL = ["--sequences", "2", "--tokens", "32", "--device", "cpu"]
# What has to come first: a model, a text that says how many windows or needles there are, and the trial itself.
FIRST = {"importing", "loading", "planning", "reading text"}
ALSO = {
    "quantize": {"calibrating: sequence", "measuring noise: sequence"},  # its trial, on the first layers
    "track": {"checkpoint"},  # the first of them is being loaded
}

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages of a command in their order, with the plan among them."""
    seen: list[str] = []
    begin, expect = Stages.begin, Stages.expect

    def begun(self: Stages, name: str, total: int | None = None, done: int = 0) -> object:
        seen.append(name)
        return begin(self, name, total, done)

    def expected(self: Stages, times: object) -> None:
        seen.append(PLAN)
        expect(self, times)  # type: ignore[arg-type]

    monkeypatch.setattr(Stages, "begin", begun)
    monkeypatch.setattr(Stages, "expect", expected)
    return seen


def before_and_after(arguments: list[str], events: list[str]) -> tuple[list[str], list[str]]:
    """The stages before the plan and those after it; one that names what it loads is `loading`."""
    assert main(arguments) == 0
    assert events.count(PLAN) == 1
    place = events.index(PLAN)
    return ["loading" if name.startswith("loading ") else name for name in events[:place]], events[place + 1 :]


def test_finetune_plans_before_its_text_is_read(
    tiny_folders: dict[str, Path], text: Path, tmp_path: Path, events: list[str]
) -> None:
    small = ["--steps", "2", "--tokens", "32", "--batch-sequences", "2", "--valid-sequences", "1", "--device", "cpu"]
    out = ["--data", str(text), "--out", str(tmp_path / "out")]
    before, after = before_and_after(
        ["finetune", str(tiny_folders["llama_gqa"]), "--vscale", *small, *out, "--no-report"], events
    )
    assert before == ["importing", "loading", "planning"]
    order = ["reading text", "held-out loss before", "calibrating", "held-out loss right after attaching V-scale",
             "step", "held-out loss after training", "loading", "step of the control",
             "held-out loss after training the control"]  # fmt: skip
    assert list(dict.fromkeys(after)) == order


def test_pretrain_plans_once_it_has_a_tokenizer(recipe_file: Path, tmp_path: Path, events: list[str]) -> None:
    before, after = before_and_after(
        ["pretrain", str(recipe_file), "--out", str(tmp_path / "o"), "--steps", "2"], events
    )
    assert set(before) <= FIRST
    assert after[0] == "step"


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("analyze", [*SMALL, "--positions", "16", "--early", "7"]),
        ("quantize", [*SMALL, "--methods", "none,w8", "--rank-limit", "1"]),
        ("evaluate", ["--variants", "none", "--window", "32", "--documents", "1", "--characters", "300"]),
        ("track", [*SMALL, "--positions", "16", "--early", "7"]),
    ],
)
def test_verbs_that_measure(
    verb: str, more: list[str], tiny_folders: dict[str, Path], tmp_path: Path, events: list[str]
) -> None:
    model = tiny_folders["llama_gqa"]
    if verb == "track":
        model = tmp_path / "few"
        for step in range(2):
            tiny.save(tiny.build("llama_gqa", seed=step), model / f"checkpoint-{step}")
    before, after = before_and_after([verb, str(model), "--out", str(tmp_path / "run"), *more], events)
    assert set(before) <= FIRST | ALSO.get(verb, set())
    assert after
