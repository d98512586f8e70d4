"""What a user names: one declaration for the command line, the library, run.json and resumed work."""

import dataclasses
import json
import typing
from pathlib import Path

import pytest

import sinkscope
from sinkscope.analysis.settings import DriverChoice, DriverFields
from sinkscope.errors import RequestError
from sinkscope.fields import descriptions
from sinkscope.inputs import ModelSource, Output, TextSource, Windows
from sinkscope.keywords import ModelFields, OutputFields, WindowFields, made_of, text_source


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
    assert made_of(Output, {"out": "~/x"}).out == Path("~/x").expanduser()


@pytest.mark.parametrize("wrong", ["sequenecs", "name"])
@pytest.mark.parametrize("verb", ["analyze", "compare", "evaluate", "quantize", "track"])
def test_unknown_keyword_arguments_are_refused_as_python_does(verb: str, wrong: str) -> None:
    arguments = ("demo", "runs/x") if verb == "track" else ("demo",)
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{wrong}'"):
        getattr(sinkscope, verb)(*arguments, **{wrong: 3})


def test_loading_options_beside_a_source_would_be_passed_over_and_are_refused() -> None:
    with pytest.raises(RequestError, match="a ModelSource takes no loading options: dtype"):
        sinkscope.analyze(ModelSource("demo"), dtype="float32")


def test_public_names_are_listed_once() -> None:
    assert set(sinkscope.__all__) == {*sinkscope._HOMES, "__version__"}
    assert all(getattr(sinkscope, name) is not None for name in sinkscope.__all__)
