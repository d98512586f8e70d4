"""The README is short and says what is there: every verb, files that exist, and the block that CI runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from forks import SCRIPT, Server
from reference.models import tiny, tokens

import sinkscope
from sinkscope.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(table: str) -> list[str]:
    """Code spans in the first column of a markdown table."""
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return [span for row in rows for span in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def test_headline_table_lists_every_number() -> None:
    analysis = sinkscope.analyze(tiny("llama_gqa"), input_ids=tokens(2, 24))
    listed = first_cells(section("docs/quantities.md", "The headline numbers"))
    assert len(listed) == len(set(listed))
    assert set(listed) == set(analysis.headline)


@pytest.mark.parametrize("command", [verb.__name__ for verb in VERBS])
def test_commands_are_listed_and_answer(command: str) -> None:
    assert f"| [`{command}`](docs/verbs/{command}.md) |" in section("README.md", "The verbs")
    subprocess.run([sys.executable, "-m", "sinkscope", command, "--help"], check=True, capture_output=True)


def test_options_exist() -> None:
    command = [sys.executable, "-m", "sinkscope", "analyze", "--help"]
    env = {**os.environ, "COLUMNS": "200"}
    shown = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    options = re.findall(
        r"--[a-z-]+", " ".join(first_cells(section("docs/verbs/analyze.md", "Options most often needed")))
    )
    assert options
    assert [option for option in options if option not in shown] == []


def test_it_is_short() -> None:
    assert len(README.encode()) < 10_000


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_ci_finds_the_test_command() -> None:
    block = README.split("<!-- ci: test -->\n")[1].split("```sh\n")[1].split("\n```")[0]
    assert "\n" not in block
    assert re.search(r"/pytest -n [^&|;]*$", block)  # at the end, with all tests, by several workers
    assert " -m " not in block.split("/pytest ")[1]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    finder = script.split("awk '")[1].split("' README.md")[0]
    found = subprocess.run(["awk", finder, "README.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert found == block + "\n"


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "benchmarks").glob("bench_*.py")), ids=lambda path: path.stem)
def test_benchmarks_still_start(path: Path, forks: Server) -> None:
    started = forks.start(SCRIPT, [str(path), "--help"])
    assert started.wait() == 0, started.err
    assert "usage: " in started.out
