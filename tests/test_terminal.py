"""What is printed obeys nobody but the reader: escapes are shown, a line stays one, a closed stream ends nothing."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from safetensors.torch import load_file, save_file

import sinkscope
from sinkscope import terminal
from sinkscope.cli import main
from sinkscope.errors import SinkscopeError
from sinkscope.loading.place import packaged_folder
from sinkscope.progress.display import say, shown
from sinkscope.terminal import complain, readable, show, tell, tell_json

PACKAGE = Path(sinkscope.__file__).parent
EVIL = "x\x1b]0;pwned\x07\u202etxt\r\n\x9b31m\u2066\x7f"
SHOWN = r"x\x1b]0;pwned\x07\u202etxt"
QUICK = ["--sequences", "2", "--tokens", "64", "--positions", "32", "--device", "cpu", "--no-backward"]


def harmless(text: str) -> bool:
    """Whether a terminal would print the text and do nothing else."""
    return all(letter == "\n" or readable(letter) == letter for letter in text)


@given(st.text())
def test_nothing_unseen_is_left(text: str) -> None:
    made = readable(text)
    assert harmless(made)
    assert "\n" not in made
    assert readable(made) == made


def test_letters_stay() -> None:
    assert readable("naïve 我们 \u2581the") == "naïve 我们 \u2581the"
    assert readable(EVIL).startswith(SHOWN)
    assert str(SinkscopeError(f"no '{EVIL}'")).startswith(f"no '{SHOWN}")


@given(st.text())
def test_json_reads_the_same(text: str) -> None:
    """Whatever stands in it raw."""
    sent = json.dumps({"a": text}, ensure_ascii=False)
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "_write", lambda _stream, made, _number: written.append(made))
        tell_json(sent)
    assert harmless(written[0])
    assert json.loads(written[0]) == {"a": text}


def test_both_streams(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tell(f"a\n{EVIL}")
    show(Text(EVIL, style="bold"))
    show(Text(EVIL), 80)
    complain(EVIL)
    say(EVIL)
    with shown(True):
        say(EVIL)
    out, err = capsys.readouterr()
    assert harmless(out + err)
    assert out.startswith(f"a\n{SHOWN}")
    assert err.count(SHOWN) == 3
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(Text(EVIL, style="bold"))
    assert r"x\x1b]0;pwned" in capsys.readouterr().out  # rich itself leaves a bell out


def test_no_other_module_prints() -> None:
    """But for three that write documentation, what is said before anything is imported, or goes to the descriptor."""
    documentation = {f"{room}/reference.py" for room in ("tables", "provenance", "reproduction")}
    allowed = {"__main__.py", "terminal.py", *documentation}
    found = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if name not in allowed and isinstance(node, ast.Call):
                words = ast.unparse(node.func)
                printing = words in ("print", "typer.echo", "click.echo", "Console().print")
                if printing or words.endswith((".stdout.write", ".stderr.write")):
                    found.append(f"{name}:{node.lineno}: {words}")
    assert found == []


def test_names_in_a_model_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tensor that nobody asked for, and an architecture that nobody knows."""
    model = tmp_path / "model"
    model.mkdir()
    for file in packaged_folder("demo").iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    weights = load_file(model / "model.safetensors")
    weights[EVIL] = weights["model.norm.weight"].clone()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert main(["analyze", str(model), "--tokens", "100000", "--device", "cpu", "--out", str(tmp_path / "run")]) != 0
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "config.json").write_text(json.dumps({"model_type": EVIL}))
    assert main(["analyze", str(odd), "--out", str(tmp_path / "other")]) == 2
    out, err = capsys.readouterr()
    assert harmless(out)
    assert harmless(err.replace("\r", ""))
    assert r"x\x1b]0;pwned" in err


def run(arguments: list[str], folder: Path, **streams: object) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sinkscope", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False, **streams)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "arguments", [["families"], pytest.param(["analyze", "demo", *QUICK, "--out", "run"], marks=pytest.mark.slow)]
)
def test_stdout_closed(tmp_path: Path, arguments: list[str]) -> None:
    """As a daemon may have it: the run is written, nothing is said, and no file takes the number of stdout."""
    done = run(arguments, tmp_path, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "run" / "report.html").is_file() == (arguments[0] == "analyze")


@pytest.mark.parametrize("arguments", [["families"], ["--help"], ["--version"], ["families", "--json"]])
def test_a_pipe_that_nobody_reads(tmp_path: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(arguments, tmp_path, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_behind_stdout_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = run(["--version"], tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"sinkscope: No space left on device\n")
