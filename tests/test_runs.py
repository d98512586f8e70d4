"""A run in the hand: one line of description, its headline, and a word on what is not there."""

from pathlib import Path

import pytest
from report.synthetic import Shape, synthetic

import sinkscope
from sinkscope.errors import SinkscopeError
from sinkscope.results import Result
from sinkscope.tables.run_folder import Run, write_run

RUN = synthetic(Shape(2, 2, 1, tokens=12, sequences=2), name="a\nname" * 60)


@pytest.fixture
def read(tmp_path: Path) -> sinkscope.Run:
    write_run(RUN, tmp_path / "run")
    return sinkscope.read_run(str(tmp_path / "run"))


def test_a_run_is_read_by_a_string(read: sinkscope.Run) -> None:
    assert isinstance(read, sinkscope.Run)
    assert isinstance(read, Run)
    assert read.headline == read.info["headline"]
    assert list(read.figures())[:2] == ["verdict", "chain"]


@pytest.mark.parametrize("shown", [RUN, sinkscope.Run(RUN.info, RUN.tables), Result(RUN), sinkscope.Analysis(RUN)])
def test_descriptions_are_short(shown: object) -> None:
    first, second = repr(shown).splitlines()
    assert first.startswith(f"<{type(shown).__name__}: analysis of a\\nname")
    assert first.endswith("on stdlib, 2 x 12 tokens")
    assert second == f" tables: {', '.join(RUN.tables)}>"
    assert len(first) < 200


def test_what_is_missing_is_named(read: sinkscope.Run) -> None:
    result = Result(RUN)
    there = f"there is no table 'nope'; there are {', '.join(RUN.tables)}"
    for held in (read, result):
        with pytest.raises(KeyError) as missing:
            held["nope"]
        assert str(missing.value) == there
        assert isinstance(missing.value, SinkscopeError)
    with pytest.raises(AttributeError) as attribute:
        _ = result.nope
    assert str(attribute.value) == f"Result has no attribute 'nope', and {there}"
    assert not hasattr(result, "_repr_png_")


def test_results_have_the_figures_of_their_runs() -> None:
    result = Result(RUN)
    assert isinstance(result.run, sinkscope.Run)
    assert list(result.figures()) == list(result.run.figures())
    with pytest.raises(SinkscopeError, match="'nope' is no figure of this run"):
        result.figure("nope")
