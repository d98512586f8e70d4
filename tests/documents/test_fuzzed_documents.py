"""Documents, recipes and run folders with values that nobody thought of: a right answer or one line, never more.

A few hundred examples run with the tests, the same ones every time. `SINKSCOPE_FUZZ=10000 pytest tests/documents` tries
as many, chosen anew, and prints what came of them.
"""

import json
import os
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from documents.enumerated import command, fields, listing, toml_of, with_value, without
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from report.synthetic import Shape, synthetic

from sinkscope.documents.model_folder import Config
from sinkscope.provenance.document import document_of
from sinkscope.tables.run_folder import write_run
from sinkscope.training.recipe import Recipe

MANY = int(os.environ.get("SINKSCOPE_FUZZ", "0"))
SHARES = {"config": 100, "recipe": 80, "run": 60, "tables": 60}
"""Examples in the tests, 300 in all."""

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 70), st.floats(), st.text(max_size=8),
    st.sampled_from([0, 1, 2, 10**9, 2**31, 2**63, 10**30, 1e308, -0.0, "", "\x1b[31m", "\u202e", "llama", "auto"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
"""Whatever JSON can say."""


def fuzzed(name: str) -> Any:
    """Settings of a test: few examples, always the same, or many."""
    count = max(1, MANY * SHARES[name] // sum(SHARES.values())) if MANY else SHARES[name]

    def of(test: Any) -> Any:
        chosen = settings(
            max_examples=count, derandomize=not MANY, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )(test)  # fmt: skip
        return seed(int(os.environ.get("SINKSCOPE_FUZZ_SEED", "0")))(chosen) if MANY else chosen

    return of


@pytest.fixture(scope="module")
def counts() -> Iterator[Counter[str]]:
    """How the commands ended, printed where many ran."""
    counted: Counter[str] = Counter()
    yield counted
    if MANY:
        with Path(os.environ.get("SINKSCOPE_FUZZ_OUT", os.devnull)).open("a", encoding="utf-8") as out:
            out.write(f"{json.dumps(counted)}\n")


@st.composite
def changes(draw: Any, document: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """One to three places of a document, and a value for each."""
    places = list(fields(document))
    return [(draw(st.sampled_from(places)), draw(VALUES)) for _ in range(draw(st.integers(1, 3)))]


def changed(content: Any, chosen: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """The document with the changes; None for a value that is not there stands for no value."""
    for place, value in chosen:
        less = without(content, place) if value is None else None
        content = with_value(content, place, value) if less is None else less
    return content


def answered(counts: Counter[str], name: str, *arguments: object) -> int:
    """Runs a command, which ends well or with one line."""
    code, said = command(*arguments)
    assert code in (0, 1, 2)
    if code:
        assert len([line for line in said if not line.startswith("sinkscope: plan:")]) == 1, said
    assert not any("Traceback" in line for line in said)
    counts[f"{name}: {'refused' if code else 'answered'}"] += 1
    return code


def _written(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.build("llama_gqa"), tmp_path_factory.mktemp("fuzzed") / "model")


def test_config_json(model: Path, counts: Counter[str]) -> None:
    file = model / "config.json"
    right = json.loads(file.read_text())

    @fuzzed("config")
    @given(changes(Config))
    def one(chosen: Any) -> None:
        file.write_bytes(_written(changed(right, chosen)))
        answered(counts, "config", "plan", model, "--tokens", "8", "--sequences", "1", "--device", "cpu")

    one()


def test_recipes(tmp_path: Path, counts: Counter[str]) -> None:
    """A recipe that is refused leaves no folder; one that is not says so before its training begins."""
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": f"document {n} and more words"}) for n in range(40)))
    right = tomllib.loads(tiny.RECIPE.replace("SOURCE", str(text)))
    right["schedule"]["steps"] = 1
    file, out = tmp_path / "tiny.toml", tmp_path / "out"

    @fuzzed("recipe")
    @given(changes(Recipe))
    def one(chosen: Any) -> None:
        file.write_text(toml_of(changed(right, chosen)), encoding="utf-8", errors="surrogatepass")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            code = answered(counts, "recipe", "pretrain", file, "--out", out)
        assert (code == 0) == (out / "model").is_dir()
        if code:
            assert not out.exists(), chosen
        shutil.rmtree(out, ignore_errors=True)

    one()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(synthetic(Shape(2, 2, 1, tokens=12, sequences=2)), tmp_path / "run")
    return tmp_path / "run"


def test_run_json(run: Path, counts: Counter[str]) -> None:
    right = json.loads((run / "run.json").read_text())
    out = run.with_name("report")

    @fuzzed("run")
    @given(changes(document_of("analysis")))
    def one(chosen: Any) -> None:
        (run / "run.json").write_bytes(_written(changed(right, chosen)))
        code = answered(counts, "run", "report", run, "--format", "md", "--out", out)
        assert (code == 0) == out.exists()
        shutil.rmtree(out, ignore_errors=True)

    one()


@pytest.mark.usefixtures("one_page")
def test_tables(run: Path, counts: Counter[str]) -> None:
    """Values that no measurement yields, in columns of their type; columns that are not there; a file cut short."""
    right = synthetic(Shape(2, 2, 1, tokens=12, sequences=2)).tables
    before, out = listing(run), run.with_name("report")
    numbers = st.one_of(
        st.floats(), st.sampled_from([0.0, 1e308, -1e308, 5e-324]), st.integers(-3, 10**12), st.text(max_size=3)
    )

    @fuzzed("tables")
    @given(st.sampled_from(sorted(right)), st.data(), st.sampled_from(["value", "all", "column", "rows", "cut", "row"]))
    def one(name: str, data: Any, how: str) -> None:
        table, file = right[name], run / f"{name}.parquet"
        column = data.draw(st.sampled_from(list(table.columns)))
        if how in ("value", "all"):
            value = data.draw(numbers)
            values = table[column].astype(object).to_list()
            table = table.assign(
                **{column: [value] * len(values) if how == "all" else [value, *values[1:]][: len(values)]}
            )
        elif how == "column":
            table = table.drop(columns=column)
        elif how == "rows":
            table = table.iloc[: data.draw(st.integers(0, 2))]
        elif how == "row":
            table = table.sample(frac=1.0, replace=True, random_state=0)
        try:
            table.to_parquet(file, index=False)
        except (TypeError, ValueError, OverflowError):  # arrow does not write columns of several types
            counts["tables: not writable"] += 1
            return
        if how == "cut":
            file.write_bytes(file.read_bytes()[: data.draw(st.integers(0, 200))])
        code = answered(counts, "tables", "report", run, "--format", "md,html", "--out", out)
        assert (code == 0) == out.exists()
        assert listing(run) == before
        shutil.rmtree(out, ignore_errors=True)
        right[name].to_parquet(file, index=False)

    one()
