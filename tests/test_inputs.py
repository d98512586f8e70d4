"""What a user names: one declaration for the command line, the library, run.json and resumed work."""

import copy
import dataclasses
import json
import typing
from pathlib import Path

import pandas as pd
import pytest

import sinkscope
from sinkscope.analysis.settings import DriverChoice, DriverFields
from sinkscope.errors import RequestError
from sinkscope.evaluation.settings import EvaluationRequest
from sinkscope.fields import descriptions
from sinkscope.inputs import ModelSource, Output, TextSource, Windows
from sinkscope.keywords import ModelFields, OutputFields, WindowFields, made_of, text_source
from sinkscope.quantization.settings import QuantizationSettings
from sinkscope.results import Result
from sinkscope.tables.run_folder import Run
from sinkscope.tracking.settings import CheckpointSource


@pytest.mark.parametrize(
    ("keywords", "request_class", "besides"),
    [
        (ModelFields, ModelSource, {"name"}),
        (WindowFields, Windows, set()),
        (OutputFields, Output, set()),
        (DriverFields, DriverChoice, set()),
    ],
)
def test_keyword_arguments_are_the_fields(keywords: type, request_class: type, besides: set[str]) -> None:
    declared = typing.get_type_hints(request_class)
    typed = typing.get_type_hints(keywords)
    assert set(declared) - besides == set(typed)
    for name, hint in typed.items():
        assert hint in (declared[name], str | declared[name]), name  # a path may be given as text


@pytest.mark.parametrize("request_class", [ModelSource, TextSource, Windows, Output, DriverChoice])
def test_every_field_is_described(request_class: type) -> None:
    assert set(descriptions(request_class)) == {field.name for field in dataclasses.fields(request_class)}


@pytest.mark.parametrize(
    "given",
    [
        ModelSource("owner/model", revision="main", dtype="bfloat16", quantize="nf4"),
        TextSource("c4", config="en", split="validation", streaming=True, column="body"),
        Windows(bos="never", sequences=3, tokens=17, isolate_documents=True),
    ],
)
def test_through_json_and_back(given: ModelSource | TextSource | Windows) -> None:
    assert type(given).from_json(json.loads(json.dumps(given.as_json()))) == given
    assert type(given).from_json({**given.as_json(), "of a later version": 1}) == given


def test_run_json_says_how_a_text_was_read_where_that_is_no_default() -> None:
    assert TextSource().provenance() == {"source": "stdlib"}
    assert TextSource("c4", config="en", column="body").provenance() == {
        "source": "c4", "config": "en", "column": "body",
    }  # fmt: skip


def test_texts_as_a_library_names_them() -> None:
    text = TextSource("c4", split="validation")
    assert text_source("c4", {"split": "validation"}) == text_source(text) == text
    with pytest.raises(RequestError, match="leave them out"):
        text_source(text, {"column": "body"})
    with pytest.raises(RequestError, match="no option colunm"):
        text_source("c4", {"colunm": "body"})


def test_impossible_windows_are_refused_before_anything_is_loaded() -> None:
    for wrong in ({"bos": "sometimes"}, {"sequences": 0}, {"batch_size": 0}):
        with pytest.raises(RequestError, match=f"`{next(iter(wrong))}`"):
            Windows(**wrong)  # type: ignore[arg-type]


def test_paths_given_as_text() -> None:
    assert made_of(Output, {"out": "runs/x", "tokens": 3}).out == Path("runs/x")
    for home in ("~/x", Path("~/x")):
        assert made_of(Output, {"out": home}).out == Path("~/x").expanduser()


@pytest.mark.parametrize("wrong", ["sequenecs", "name"])
@pytest.mark.parametrize("verb", ["analyze", "compare", "evaluate", "load", "plan", "quantize", "track"])
def test_unknown_keyword_arguments_are_refused_as_python_does(verb: str, wrong: str) -> None:
    arguments = ("demo", "runs/x") if verb == "track" else ("demo",)
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{wrong}'"):
        getattr(sinkscope, verb)(*arguments, **{wrong: 3})


@pytest.mark.parametrize("verb", ["analyze", "evaluate", "load", "plan", "quantize"])
def test_loading_options_beside_a_source_would_be_passed_over_and_are_refused(verb: str) -> None:
    with pytest.raises(RequestError, match=r"(?i)ModelSource.*dtype|dtype.*ModelSource"):
        getattr(sinkscope, verb)(ModelSource("demo"), dtype="float32")


def test_what_a_verb_cannot_use_is_refused(tiny_folders: dict[str, Path]) -> None:
    with pytest.raises(RequestError, match="in memory already"):
        sinkscope.plan(sinkscope.load(tiny_folders["llama_gqa"]))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="`revisions`"):
        sinkscope.track(tiny_folders["llama_gqa"], "runs/x", revision="main")
    with pytest.raises(RequestError, match="save a run that is in memory first"):
        sinkscope.compare([object()])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="two"):
        sinkscope.compare(str(tiny_folders["llama_gqa"]), sequences=1, tokens=16)


def test_a_path_where_a_name_is_meant_is_its_text() -> None:
    path = Path("some") / "where"
    assert ModelSource(path).name == TextSource(path).data == str(path)  # type: ignore[arg-type]
    assert EvaluationRequest(haystack=path).haystack == str(path)  # type: ignore[arg-type]
    assert QuantizationSettings(calibration_data=path).calibration_data == str(path)  # type: ignore[arg-type]
    assert CheckpointSource(path, tokenizer=path).tokenizer == str(path)  # type: ignore[arg-type]
    json.dumps([ModelSource(path).as_json(), TextSource(path).as_json()])  # type: ignore[arg-type]


def test_a_result_is_a_collection_of_tables() -> None:
    result = Result(Run({"headline": {}}, {"heads": pd.DataFrame({"layer": [0]})}))
    assert "heads" in result
    assert "maps" not in result
    assert list(result) == ["heads"]
    assert result["heads"] is result.heads
    assert copy.deepcopy(result)["heads"].equals(result.heads)


def test_public_names_are_listed_once() -> None:
    assert set(sinkscope.__all__) == {*sinkscope._HOMES, "__version__"}
    assert all(getattr(sinkscope, name) is not None for name in sinkscope.__all__)
