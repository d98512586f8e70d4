"""What `--help` shows to be typed can be typed."""

import shlex
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


def test_a_wrong_example_would_be_seen() -> None:
    with pytest.raises(typer.BadParameter.__bases__[0]):
        verb_command("report").make_context("report", ["runs/demo", "--widht", "3"])


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
