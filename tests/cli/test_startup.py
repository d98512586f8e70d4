"""The command line answers before anything heavy is loaded."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import sinkscope
from sinkscope import __main__ as program
from sinkscope.cli import main
from sinkscope.cli.verbs import VERBS

HEAVY = ("torch", "transformers", "pandas", "matplotlib", "numpy", "pyarrow", "rich", "pydantic", "huggingface_hub")
ROOT = str(Path(sinkscope.__file__).parents[1])


@pytest.mark.parametrize(
    "statement",
    [
        "import sinkscope",
        "sinkscope.cli.main(['--help'])",
        *(f"sinkscope.cli.main(['{verb.__name__}', '--help'])" for verb in VERBS),
    ],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    code = f"import sys, sinkscope.cli; {statement}; print(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "sinkscope.cli" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_architectures_are_listed_without_torch() -> None:
    code = "import sys, sinkscope.cli; sinkscope.cli.main(['families', '--json']); print(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "sinkscope.models.families" in loaded
    assert loaded.isdisjoint({*HEAVY} - {"pydantic"})  # which typer loads to run any verb


@pytest.mark.parametrize("verb", [verb.__name__ for verb in VERBS])
def test_the_options_of_one_verb_alone_are_made(verb: str) -> None:
    """A verb's help is read without the options of the others, which take longer than Python's own start."""
    code = (
        "import sys, sinkscope.cli, sinkscope.cli.app as app; "
        f"sinkscope.cli.main(['{verb}', '--help']); print(app.verb_command.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1"


def test_nothing_is_collected_at_the_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    frozen = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    assert program.main(["--version"]) == 0
    assert frozen == [True]
    assert capsys.readouterr().out.startswith("sinkscope ")


def test_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "sinkscope", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"sinkscope {sinkscope.__version__}\n"
    done = subprocess.run([*command[:-1], "unheard-of"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_verbs_that_processes_do_not_share_are_refused_under_a_launcher(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["compare", "demo", "demo-vscale", "--out", "nowhere"]) == 2
    assert capsys.readouterr().err == (
        "sinkscope: compare runs in one process; several share analyze, finetune, pretrain, reproduce (--help "
        "shows how)\n"
    )
