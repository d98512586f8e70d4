"""Documents come out as they were stored, or one line says what is wrong."""

import importlib.util
import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from sinkscope.compat.hub import TransportError
from sinkscope.errors import SinkscopeError
from sinkscope.inputs import TextSource
from sinkscope.terminal import readable
from sinkscope.text.documents import Document
from sinkscope.text.sources import open_documents

TEXTS = ["first\r\ntext", "zweiter, mit Umlaut: ü", "  third "]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def refusal(source: Path | str, **options: Any) -> str:
    with pytest.raises(SinkscopeError) as caught:
        list(open_documents(str(source), **options))
    return str(caught.value)


def test_stdlib_is_the_same_twice() -> None:
    first = list(islice(open_documents("stdlib"), 20))
    assert first == list(islice(open_documents("stdlib"), 20))
    assert len({document.name for document in first}) == 20


def test_the_halves_of_stdlib_are_the_reference_and_the_sources() -> None:
    """Prose and code alternate in the whole while prose remains."""
    whole = list(islice(open_documents("stdlib"), 20))
    assert whole[::2] == list(islice(open_documents("stdlib-prose"), 10))
    assert whole[1::2] == list(islice(open_documents("stdlib-code"), 10))
    assert {document.name.partition("/")[0] for document in whole[::2]} == {"pydoc_data.topics"}


def test_text_file_is_one_document_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\n".encode())
    assert list(open_documents(str(path))) == [Document("a.txt", "one\r\ntwo\n")]


def test_json_lines(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": text, "id": 1} for text in TEXTS])
    path.write_text(path.read_text(encoding="utf-8") + "\n\n", encoding="utf-8")
    assert list(open_documents(str(path))) == [Document(f"a.jsonl:{n}", t) for n, t in enumerate(TEXTS, 1)]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"body": TEXTS, "id": range(3)}).to_parquet(path)
    assert [document.text for document in open_documents(str(path), column="body")] == TEXTS


def test_parquet_of_many_batches_keeps_the_order(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": [str(n) for n in range(3000)]}).to_parquet(path, row_group_size=700)
    documents = list(open_documents(str(path)))
    assert [document.text for document in documents] == [str(n) for n in range(3000)]
    assert documents[-1].name == "a.parquet:3000"


def test_folder_is_read_in_sorted_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "b.txt").write_text("b")
    write_lines(tmp_path / "a.jsonl", [{"text": "a1"}, {"text": "a2"}])
    (tmp_path / "sub" / "c.txt").write_text("c")
    (tmp_path / ".cache" / "hidden.txt").write_text("hidden")
    (tmp_path / "notes.md").write_text("not read")
    names = [document.name for document in open_documents(str(tmp_path))]
    assert names == ["a.jsonl:1", "a.jsonl:2", "b.txt", "sub/c.txt"]


def test_blank_documents_are_skipped(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": ""}, {"text": None}, {"text": " \n"}, {"text": "x"}])
    assert list(open_documents(str(path))) == [Document("a.jsonl:4", "x")]


@pytest.mark.parametrize("content", ["", " \n"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_empty_file(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert f"{name} is empty" in refusal(tmp_path / name)


def test_empty_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"text": pd.Series([], dtype="str")}).to_parquet(tmp_path / "a.parquet")
    assert "is empty" in refusal(tmp_path / "a.parquet")


def test_missing_column_names_those_there(tmp_path: Path) -> None:
    rows = {"title": ["x"], "body": ["y"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    write_lines(tmp_path / "a.jsonl", [{"text": "x"}, {"title": "x", "body": "y"}])
    for name in ("a.parquet", "a.jsonl"):
        message = refusal(tmp_path / name)
        assert "no 'text'" in message
        assert "title, body" in message
    assert "line 2" in message


def test_column_without_text(tmp_path: Path) -> None:
    pd.DataFrame({"text": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    write_lines(tmp_path / "a.jsonl", [{"text": [1]}])
    assert "holds int64, not text" in refusal(tmp_path / "a.parquet")
    assert "holds list, not text" in refusal(tmp_path / "a.jsonl")


@pytest.mark.parametrize(("line", "complaint"), [("{'text': 1}", "not valid JSON"), ("[]", "not a JSON object")])
def test_bad_json_line_is_numbered(line: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    assert f"line 2 is {complaint}" in refusal(tmp_path / "a.jsonl")


def test_undecodable_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    assert "not UTF-8 text: invalid start byte at byte 3" in refusal(tmp_path / "a.txt")
    assert "line 2 is not UTF-8" in refusal(tmp_path / "a.jsonl")


def test_json_that_is_no_text(tmp_path: Path) -> None:
    """Half a pair of surrogates, which JSON can spell and UTF-8 cannot hold; brackets in brackets without end."""
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": "\\ud800 half"}\n')
    assert "line 2: 'text' holds half of a character" in refusal(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"text": "\\ud83d\\ude00 whole"}\n')
    assert [document.text for document in open_documents(str(tmp_path / "a.jsonl"))] == ["\U0001f600 whole"]
    (tmp_path / "a.jsonl").write_text('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    assert "line 1 nests deeper than 64 levels" in refusal(tmp_path / "a.jsonl")


def test_parquet_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that the file calls text and are none; a date beyond those that Python knows."""
    offsets, content = pyarrow.py_buffer(b"\0\0\0\0\4\0\0\0"), pyarrow.py_buffer(b"\xff\xfe\xfd\xfc")
    bytes_as_text = pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, offsets, content])
    for name, column in (("text", bytes_as_text), ("date", pyarrow.array([2**62], pyarrow.timestamp("us")))):
        pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / f"{name}.parquet")
    assert "text.parquet, row 1 is not UTF-8 text" in refusal(tmp_path / "text.parquet")
    assert "date.parquet: 'text' holds timestamp[us], not text" in refusal(tmp_path / "date.parquet")


def test_a_text_without_a_name_is_refused() -> None:
    """As an unset variable of a shell leaves it; the empty path would stand for the working folder."""
    with pytest.raises(SinkscopeError, match="`data` is empty"):
        TextSource("")


def test_truncated_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": TEXTS}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a whole parquet file" in refusal(path)


def test_what_can_be_seen_is_refused_on_opening(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    for source, complaint in [
        (tmp_path / "nothing.txt", "there is no file or folder"),
        (tmp_path / "nothing", "there is no file or folder"),
        ("nothing.jsonl", "there is no file or folder"),
        (tmp_path / "notes.md", "is none of .txt, .jsonl, .parquet"),
        (tmp_path, "holds no text"),
    ]:
        with pytest.raises(SinkscopeError, match=complaint):
            open_documents(str(source))


@pytest.mark.parametrize("options", [{"config": "en"}, {"streaming": True}])
def test_dataset_options_need_a_dataset(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    for source in ("stdlib", tmp_path / "a.txt"):
        assert "are for datasets" in refusal(source, **options)


def test_datasets_extra_is_named_where_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, *_: Any, real: Callable[..., Any] = importlib.util.find_spec) -> Any:
        return None if name == "datasets" else real(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert "pip install 'sinkscope[datasets]'" in refusal("allenai/c4")


def test_saved_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": TEXTS})
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"valid": rows}).save_to_disk(tmp_path / "several")
    assert [document.text for document in open_documents(str(tmp_path / "one"))] == TEXTS
    assert [document.text for document in open_documents(str(tmp_path / "several"), split="valid")] == TEXTS
    assert "choose a `split` of valid" in refusal(tmp_path / "several")
    assert "`column` of text" in refusal(tmp_path / "one", column="body")


@pytest.mark.parametrize("streaming", [False, True])
def test_folder_with_dataset_configurations(streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    for language in ("de", "en"):
        write_lines(folder / f"{language}.jsonl", [{"text": f"{language} {n}"} for n in range(3)])
    configs = "".join(f"\n- config_name: {language}\n  data_files: {language}.jsonl" for language in ("de", "en"))
    (folder / "README.md").write_text(f"---\nconfigs:{configs}\n---\n")
    documents = open_documents(str(folder), config="en", streaming=streaming)
    assert [document.text for document in documents] == ["en 0", "en 1", "en 2"]
    assert "cannot load" in refusal(folder, config="fr")


def test_unknown_dataset_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    message = refusal("owner/never-seen")
    assert "there is no file or folder owner/never-seen" in message

    def unreachable(*_: Any, **__: Any) -> None:
        raise TransportError("no route")

    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    assert "cannot be reached" in refusal("owner/never-seen")


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(r'{"text": "one"}' + "\n" + r'{"text": "two \ud83d alone"}')
    assert refusal(path).endswith("line 2: 'text' holds half of a character (a lone surrogate) at letter 4")


def test_parquet_of_what_is_no_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 in a column of text, and dates that Python has no value for."""
    path = tmp_path / "a.parquet"
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfe\xfd\xfc")]
    )
    pq.write_table(pa.table({"text": broken}), path)
    assert refusal(path).endswith("row 1 is not UTF-8 text: invalid start byte at byte 0")
    pq.write_table(pa.table({"text": pa.array([2**62], pa.timestamp("us"))}), path)
    assert refusal(path).endswith("'text' holds timestamp[us], not text: choose another `column`")


def test_parquet_of_every_kind_of_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        pq.write_table(pa.table({"text": pa.array(["one", None, "two"], pa.string()).cast(kind)}), path)
        assert [document.text for document in open_documents(str(path))] == ["one", "two"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    """Neither waited for nor read without end; in a folder it is passed over."""
    path = tmp_path / "a.txt"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert refusal(path).endswith("is no file but a pipe, a socket or a device: text is read from files")
    assert "holds no text" in refusal(tmp_path)


def test_no_name_at_all() -> None:
    """As an unset variable gives it: it does not stand for the working folder."""
    assert refusal("") == "`data` is empty: name a file, a folder, a data set or stdlib"


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt"))
    path.write_text("one")
    (document,) = open_documents(str(path))
    assert (document.text, readable(document.name)) == ("one", r"\udcff.txt")


def test_a_saved_dataset_without_rows(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": []}).save_to_disk(tmp_path / "none")
    assert refusal(tmp_path / "none").endswith("none is empty: there is no row in it")
