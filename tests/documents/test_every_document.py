"""Each kind of document times each way to be wrong, through the command line: one line that names it, nothing left."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny
from documents.enumerated import BROKEN, BROKEN_TOML, command, example_of, listing, refused_contents, toml_of
from report.synthetic import Shape, synthetic

from sinkscope.documents.model_folder import Config, GenerationConfig, Index
from sinkscope.documents.state import TrackResult, TrackShared, Trained
from sinkscope.documents.vscale import VScaleInfo
from sinkscope.files.sealed import read_sealed, write_sealed
from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.document import document_of
from sinkscope.tables.columns import BY_KIND, TABLES
from sinkscope.tables.run_folder import write_run
from sinkscope.training.recipe import Recipe
from sinkscope.vscale import attach_, save

SMALL = ("--sequences", "1", "--tokens", "8", "--device", "cpu")


class Kind(NamedTuple):
    """A kind of document on disk.

    Attributes:
        file: the document.
        content: what it rightly says.
        document: its declaration; None where any object is right.
        arguments: a command that reads it.
        needed: whether the command refuses its absence by its name.
        sealed: whether it carries its hash, which is made anew for what is tried.
    """

    file: Path
    content: Any
    document: Any
    arguments: tuple[object, ...]
    needed: bool = True
    sealed: bool = False


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def made(root: Path) -> Callable[[str], Kind]:
    """Makes the folder around a kind of document, once."""
    known: dict[str, Kind] = {}

    def kind(name: str) -> Kind:
        if name not in known:
            place = root / name
            place.mkdir()
            known[name] = MAKERS[name](place)
        return known[name]

    return kind


def _text(place: Path) -> Path:
    path = place / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"document {n} and {n * n} more words"}) for n in range(40)))
    return path


def _config(place: Path) -> Kind:
    folder = tiny.save(tiny.build("llama_gqa"), place / "model")
    file = folder / "config.json"
    return Kind(file, json.loads(file.read_text()), Config, ("plan", folder))


def _generation(place: Path) -> Kind:
    folder = tiny.save(tiny.build("llama_gqa"), place / "model")
    arguments = ("analyze", folder, *SMALL, "--no-backward", "--data", _text(place), "--out", place / "out")
    return Kind(folder / "generation_config.json", {"eos_token_id": 1}, GenerationConfig, arguments, needed=False)


def _index(place: Path) -> Kind:
    folder = tiny.save(tiny.build("llama_gqa"), place / "model", max_shard_size="20KB")
    file = folder / "model.safetensors.index.json"
    arguments = ("analyze", folder, *SMALL, "--data", _text(place), "--out", place / "out")
    return Kind(file, json.loads(file.read_text()), Index, arguments)


def _vscale(place: Path) -> Kind:
    folder = save(attach_(tiny.build("llama_gqa")), place / "model")
    tiny.tokenizer().save_pretrained(folder)
    file = folder / "vscale.json"
    content = {**json.loads(file.read_text()), "base": {"name": "elsewhere", "gguf": {"file": "x.gguf"}}}
    return Kind(file, content, VScaleInfo, ("plan", folder), needed=False)


def _recipe(place: Path) -> Kind:
    import tomllib

    content = tomllib.loads(tiny.RECIPE.replace("SOURCE", str(_text(place))))
    return Kind(place / "tiny.toml", content, Recipe, ("pretrain", place / "tiny.toml", "--out", place / "out"))


def _training(place: Path) -> tuple[object, ...]:
    """A training that was interrupted after its text was read, and the command that resumes it."""
    (place / "tiny.toml").write_text(tiny.RECIPE.replace("SOURCE", str(_text(place))))
    arguments = ("pretrain", place / "tiny.toml", "--steps", "1", "--out", place / "out")
    assert command(*arguments).code == 0
    shutil.rmtree(place / "out" / "model")
    return (*arguments, "--resume")


def _settings(place: Path) -> Kind:
    arguments = _training(place)
    file = place / "out" / "settings.json"
    return Kind(file, json.loads(file.read_text()), None, arguments, needed=False)


def _finished(place: Path) -> Kind:
    _training(place)
    (place / "out" / "checkpoints").mkdir(exist_ok=True)
    tiny.save(tiny.build("llama_gqa"), place / "out" / "model")
    file = place / "out" / "settings.json"
    arguments = ("track", place / "out", *SMALL, "--out", place / "run")
    return Kind(file, json.loads(file.read_text()), Trained, arguments, needed=False)


def _losses(place: Path) -> Kind:
    folder = tiny.save(tiny.build("llama_gqa"), place / "model")
    size = ("--tokens", "16", "--valid-sequences", "2", "--steps", "1", "--batch-sequences", "2")
    arguments = ("finetune", folder, "--data", _text(place), *size, "--no-report", "--device", "cpu")
    arguments = (*arguments, "--out", place / "out")
    assert command(*arguments).code == 0
    shutil.rmtree(place / "out" / "model")
    file = place / "out" / "losses.json"
    return Kind(file, read_sealed(file), None, (*arguments, "--resume"), needed=False, sealed=True)


def _request(place: Path) -> Kind:
    folder = tiny.save(tiny.build("llama_gqa"), place / "model")
    arguments = ("analyze", folder, *SMALL, "--data", _text(place), "--out", place / "out", "--resume")
    (place / ".out.analysis").mkdir()
    return Kind(place / ".out.analysis" / "request.json", {}, None, arguments, needed=False)


def _track(place: Path) -> Path:
    """A track with a checkpoint that failed, whose results are kept."""
    for step in (1, 2):
        tiny.save(tiny.build("llama_gqa", seed=step), place / "checkpoints" / f"step-{step}")
    (place / "checkpoints" / "step-2" / "model.safetensors").write_bytes(b"")
    arguments = ("track", place / "checkpoints", *SMALL, "--data", _text(place), "--out", place / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinkscope.report.render.render", lambda *_: None)
        command(*arguments)
    shutil.rmtree(place / "out")
    return place / ".out.track"


def _shared(place: Path) -> Kind:
    file = _track(place) / "shared.json"
    return Kind(file, read_sealed(file), TrackShared, _resumed(place), needed=False, sealed=True)


def _result(place: Path) -> Kind:
    file = _track(place) / "step-1.json"
    return Kind(file, read_sealed(file), TrackResult, _resumed(place), needed=False, sealed=True)


def _resumed(place: Path) -> tuple[object, ...]:
    return ("track", place / "checkpoints", *SMALL, "--data", place / "text.jsonl", "--out", place / "out", "--resume")


def _run(kind: str) -> Callable[[Path], Kind]:
    def make(place: Path) -> Kind:
        arguments = ("report", place, "--format", "md", "--out", place / "report")
        return Kind(place / "run.json", example_of(kind), document_of(kind), arguments)

    return make


MAKERS: dict[str, Callable[[Path], Kind]] = {
    "config": _config, "generation": _generation, "index": _index, "vscale": _vscale, "recipe": _recipe,
    "settings": _settings, "finished": _finished, "losses": _losses, "request": _request,
    "shared": _shared, "result": _result,
    **{f"run-{kind}": _run(kind) for kind in KINDS},
}  # fmt: skip
LARGE = ("recipe", *(f"run-{kind}" for kind in KINDS))
"""Kinds whose command is quick, of which every field is tried with many odd values; of others with a few."""
MANY = ("odd", {"odd": 1}, [["odd"]], True, -1, 10**400, float("nan"))
FEW = ("odd", {"odd": 1}, 10**400)


def _refused(kind: Kind, content: bytes | None, root: Path) -> str:
    """The one line with which a command refuses what stands in the place of a document."""
    if content is None:
        kind.file.unlink(missing_ok=True)
    else:
        kind.file.write_bytes(content)
    before = listing(root)
    answer = command(*kind.arguments)
    assert listing(root) == before
    lines = [line for line in answer.said if not line.startswith("sinkscope: plan:")]
    assert answer.code in (1, 2), (kind.file.name, content, answer)
    assert len(lines) == 1, (kind.file.name, content, answer)
    return lines[0]


def _encoded(kind: Kind, content: Any) -> bytes:
    if kind.sealed:
        write_sealed(kind.file, content)
        return kind.file.read_bytes()
    return (toml_of(content) if kind.file.suffix == ".toml" else json.dumps(content)).encode()


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_no_document(name: str, made: Callable[[str], Kind], root: Path) -> None:
    kind = made(name)
    broken = BROKEN_TOML if kind.file.suffix == ".toml" else BROKEN
    for content in broken.values():
        assert kind.file.name in _refused(kind, content, root)
    if kind.needed:
        assert kind.file.name in _refused(kind, None, root)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("settings", "losses", "request")])
def test_every_field_of_another_type(name: str, made: Callable[[str], Kind], root: Path) -> None:
    kind = made(name)
    tried = 0
    odd = MANY if name in LARGE else FEW
    for place, content in refused_contents(kind.content, kind.document, odd):
        line = _refused(kind, _encoded(kind, content), root)
        assert kind.file.name in line
        assert any(str(part) in line for part in place)
        tried += 1
    assert tried >= 3


def test_fields_without_a_declaration_of_their_own(made: Callable[[str], Kind], root: Path) -> None:
    for value in ("text", [1], {}, True, 10**400):
        assert "losses.json: 'before' must be a number" in _refused(
            made("losses"), _encoded(made("losses"), {"before": value}), root
        )


def _columns() -> Iterator[tuple[str, str]]:
    for table in BY_KIND["analysis"]:
        for column in table.columns:
            yield table.name, column.name


def test_every_column_of_a_table(tmp_path: Path) -> None:
    run = synthetic(Shape(2, 2, 1, tokens=12, sequences=2))
    write_run(run, tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    report = ("report", tmp_path / "run", "--format", "md", "--out", tmp_path / "report")
    declared = {(name, column.name): column for name in TABLES for column in TABLES[name].columns}
    for name, column in _columns():
        table = run.tables.get(name)
        if table is None or not len(table):
            continue
        (tmp_path / "run" / "run.json").write_text(json.dumps({**info, "tables": [name]}))
        file = tmp_path / "run" / f"{name}.parquet"
        number = declared[name, column].dtype != "string"
        odd = table.assign(**{column: "odd" if number else 1.5})
        less = table.drop(columns=column)
        whole = declared[name, column].dtype == "int64"
        far = [table.assign(**{column: 10**18}), table.assign(**{column: -5})] if whole else []
        if declared[name, column].dtype == "float64":
            far = [table.assign(**{column: float("inf")})]
        for damaged in (odd, less, *far):
            damaged.to_parquet(file, index=False)
            answer = command(*report)
            assert answer.code == 1
            assert len(answer.said) == 1
            assert f"{name}.parquet" in answer.said[0]
            assert f"'{column}'" in answer.said[0]
        for content in (b"", b"PAR1", file.read_bytes()[:-8]):
            file.write_bytes(content)
            assert f"{name}.parquet is not a whole parquet file" in command(*report).said[0]
        table.to_parquet(file, index=False)
    assert not (tmp_path / "report").exists()


def test_right_documents_are_read(made: Callable[[str], Kind]) -> None:
    """What the tests above change is right before."""
    for name in ("config", "generation", "index"):
        kind = made(name)
        kind.file.write_bytes(_encoded(kind, kind.content))
        answer = command(*kind.arguments)
        assert answer.code == 0, answer
