"""The notebooks in examples/ are listed, hold no outputs, and run from their first cell to their last."""

import resource
from pathlib import Path

import nbformat
import pytest
from code_blocks import ROOT
from nbclient import NotebookClient

SECONDS = 90  # of one core, at most: examples/README.md says what each takes
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_all_are_listed() -> None:
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 5
    assert [path.name for path in NOTEBOOKS if f"]({path.name})" not in page] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_valid_and_holds_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the kernel is a process of its own, in another folder
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook, before = nbformat.read(path, as_version=4), _seconds_of_children()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert 0 < _seconds_of_children() - before < SECONDS
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert shown
    assert {output.output_type for output in shown} <= {"execute_result", "display_data", "stream"}


def _seconds_of_children() -> float:
    """What processes that have ended took of the processor, kernels among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
