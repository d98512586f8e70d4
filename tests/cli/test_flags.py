"""The library names fields, the command line options; no flag is written outside of `sinkscope/cli`."""

import ast
import re
from pathlib import Path

import pytest
import typer

import sinkscope
from sinkscope.cli.app import app
from sinkscope.cli.flags import with_flags

PACKAGE = Path(sinkscope.__file__).parent
LIBRARY = [path for path in sorted(PACKAGE.rglob("*.py")) if PACKAGE / "cli" not in path.parents]
FLAG = re.compile(r"(?<![-\w])--[a-z]")
# Options of other programs.
FOREIGN = ("--no-input", "accelerate launch --config_file")


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


def test_the_library_speaks_no_command_line() -> None:
    said = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in LIBRARY
        for line, text in _strings(path)
        if FLAG.search(text) and not any(foreign in text for foreign in FOREIGN)
    ]
    assert not said


def test_every_field_in_an_error_has_an_option() -> None:
    """Backticks in an error are for fields; whatever comes from a file or a configuration stands in quotes."""
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    flags = frozenset(flag for command in commands for p in command.params for flag in (*p.opts, *p.secondary_opts))
    wrong = []
    for path in LIBRARY:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error") and node.args):
                continue
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            text = "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)
            fields = (field for field in re.findall(r"`[^`]*`", text) if not with_flags(field, flags).startswith("--"))
            wrong += [f"{path.relative_to(PACKAGE)}:{node.lineno}: {field}" for field in fields]
    assert not wrong
