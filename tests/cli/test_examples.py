"""What `--help` shows to be typed can be typed."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from sinkscope.cli import main
from sinkscope.cli.app import app, verb_command
from sinkscope.cli.examples import EXAMPLES
from sinkscope.cli.verbs import VERBS

GROUP: Any = typer.main.get_command(app)


def test_every_verb_has_examples() -> None:
    assert list(EXAMPLES) == [verb.__name__ for verb in VERBS]
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_an_example_is_a_command(line: str) -> None:
    program, verb, *arguments = shlex.split(line)
    assert (program, len(line) < 80) == ("sinkscope", True)
    assert line in EXAMPLES[verb]
    command = verb_command(verb)
    with command.make_context(verb, arguments) as context:  # parses, and refuses what is no option or value
        assert context.params


class Reached(Exception):  # noqa: N818  (nothing is wrong)
    """A verb has looked at its request, and would import what works on it."""


@contextmanager
def reached() -> Iterator[None]:
    raise Reached
    yield


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Verbs end where their work begins; models, texts and runs are taken to be there."""
    monkeypatch.chdir(tmp_path)
    for module in [module for name, module in sys.modules.items() if name.startswith("sinkscope.cli.verbs.")]:
        if hasattr(module, "importing"):
            monkeypatch.setattr(module, "importing", reached)
    monkeypatch.setattr("sinkscope.loading.place.refuse_mistaken", lambda *_: None)
    monkeypatch.setattr("sinkscope.text.sources.refuse_missing", lambda *_: None)


# Verbs that read a run or a folder, or print a list, before anything else: there is nothing to look at beforehand.
READING = ("ablate", "compare", "families", "report", "track")


@pytest.mark.usefixtures("looking")
@pytest.mark.parametrize("line", [line for verb, lines in EXAMPLES.items() if verb not in READING for line in lines])
def test_an_example_asks_for_what_can_be(line: str) -> None:
    with pytest.raises(Reached):
        main(shlex.split(line)[1:])


@pytest.mark.usefixtures("looking")
def test_an_example_that_contradicts_itself_would_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "demo", "--train", "theta", "--out", "runs/retrofit"]) == 2
    assert "--train theta trains V-scale: it needs --vscale" in capsys.readouterr().err


def test_a_wrong_example_would_be_seen() -> None:
    with pytest.raises(typer.BadParameter.__bases__[0]):
        verb_command("report").make_context("report", ["runs/demo", "--widht", "3"])


@pytest.mark.parametrize("verb", EXAMPLES)
def test_help_speaks_of_what_the_verb_takes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Descriptions are shared among verbs: none names an option that this one lacks, or a method that it refuses."""
    assert main([verb, "--help"]) == 0
    options = {option for parameter in verb_command(verb).params for option in parameter.opts}
    shown = capsys.readouterr().out
    assert ("cache-k4v4" in shown) == (verb in ("quantize", "evaluate"))
    assert ("transformers' own cache" in " ".join(shown.split())) == (verb == "evaluate")
    assert ("--budget" in shown) == ("--budget" in options)


@pytest.mark.parametrize("verb", EXAMPLES)
def test_help_ends_with_them(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out.split("Examples:\n")[1].splitlines()
    assert [line.strip() for line in shown if line.strip()] == list(EXAMPLES[verb])


def test_the_script_of_completion_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    with pytest.raises(SystemExit) as ended:
        main(["--show-completion"])
    assert not ended.value.code
    assert "complete -o default -F _sinkscope_completion sinkscope" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "count", "completed"),
    [("sinkscope an", 1, ["analyze"]), ("sinkscope report --wid", 2, ["--width"])],
)
def test_the_shell_completes(
    words: str, count: int, completed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_SINKSCOPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(count))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert not ended.value.code
    assert capsys.readouterr().out.split() == completed
