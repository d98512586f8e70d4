"""The library names fields, the command line options; no flag is written outside of `sinkscope/cli`."""

import ast
import re
from pathlib import Path

import pytest

import sinkscope
from sinkscope.cli import main
from sinkscope.cli.app import verb_command
from sinkscope.cli.flags import with_flags
from sinkscope.cli.verbs import VERBS
from sinkscope.errors import first_line

PACKAGE = Path(sinkscope.__file__).parent
LIBRARY = [path for path in sorted(PACKAGE.rglob("*.py")) if PACKAGE / "cli" not in path.parents]
FLAG = re.compile(r"(?<![-\w])--[a-z]")
# Options of other programs.
FOREIGN = ("--no-input", "--porcelain", "--untracked-files=no", "accelerate launch --config_file")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("use fewer `tokens`", "use fewer --tokens"),
        ("use `bos=never`", "use --bos never"),
        ("no `backward=False` here", "no --no-backward here"),
        ("choose a `split` of a, b", "choose a --data-split of a, b"),
        ("leave out `stream`", "leave out --stream"),
        ("`made_up` stays, and 'tokens' too", "`made_up` stays, and 'tokens' too"),
    ],
)
def test_fields_become_options(message: str, said: str) -> None:
    flags = frozenset({"--tokens", "--bos", "--no-backward", "--data-split", "--stream"})
    assert with_flags(message, flags) == said


def _strings(path: Path) -> list[tuple[int, str]]:
    """The strings of a module, what is interpolated in them as {}."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            found.append((node.lineno, "".join(map(str, parts))))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            found.append((node.lineno, node.value))
    return found


def test_what_somebody_typed_stays_as_it_is() -> None:
    assert (
        with_flags("no file `tokens`.txt", None, ["analyze", "x", "--data", "`tokens`.txt"]) == "no file `tokens`.txt"
    )
    assert with_flags("`device=` cannot be used") == "--device cannot be used"
    assert first_line(ValueError("bad `config`")) == "bad 'config'"  # a library's words are not our fields


def test_an_error_names_options_of_the_verb_that_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "`tokens`"]) == 1
    assert "`tokens`" in capsys.readouterr().err
    assert main(["evaluate", "demo", "--bos", "sometimes"]) == 2
    assert capsys.readouterr().err.startswith("sinkscope: --bos is auto")


def test_the_library_speaks_no_command_line() -> None:
    said = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in LIBRARY
        for line, text in _strings(path)
        if FLAG.search(text) and not any(foreign in text for foreign in FOREIGN)
    ]
    # A page says what to type to measure what it warns of, and a reproduction how each of its stages is made by hand.
    typed = ("report/analysis/consequences.py", "reproduction/chain.py", "reproduction/report.py")
    assert [place for place in said if not place.startswith(typed)] == []


# Rooms whose strings are documentation or pages, where backticks mark code.
METRIC = "`acc`"  # of lm-evaluation-harness, in a convention that run.json holds
WRITTEN = ("tables", "provenance", "quantities", "report", "models/layout.py", "capture", "packaged")


def _docstrings(tree: ast.Module) -> set[int]:
    bodies = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    firsts = [node.body[0].value for node in bodies if node.body and isinstance(node.body[0], ast.Expr)]
    after = [n.value for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    return {id(value) for value in (*firsts, *after)}


def test_every_field_that_is_mentioned_has_an_option() -> None:
    """Backticks are for fields; whatever comes from a file, a configuration or a library stands in quotes."""
    commands = [verb_command(verb.__name__) for verb in VERBS]
    flags = frozenset(flag for command in commands for p in command.params for flag in (*p.opts, *p.secondary_opts))
    wrong = []
    for path in LIBRARY:
        place = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = _docstrings(tree)
        errors = [n.args[0] for n in ast.walk(tree) if _is_error(n) and n.args]
        strings = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        if place.startswith(WRITTEN) and not place.endswith("settings.py"):
            inside = {id(part) for error in errors for part in ast.walk(error)}
            strings = [node for node in strings if id(node) in inside]
        for node in strings:
            if id(node) in skipped:
                continue
            names = re.findall(r"`[a-z_]+(?:=[^`]*)?`", node.value)
            unknown = [name for name in names if not with_flags(name, flags).startswith("--") and name != METRIC]
            wrong += [f"{place}:{node.lineno}: {name}" for name in unknown]
    assert not wrong


def _is_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error")
