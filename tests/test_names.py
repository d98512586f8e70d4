"""Names are spelled in one place, and what cannot be a name of the Hub is seen as a path."""

import pytest

from sinkscope.names import QUANTIZATION_ALIASES, looks_like_a_path


@pytest.mark.parametrize("name", ["./a", "../a", "/a", "~/a", "a/b/c", "a/", "a\\b"])
def test_paths(name: str) -> None:
    assert looks_like_a_path(name)


@pytest.mark.parametrize("name", ["gpt2", "owner/model", "a.b-c/d_e"])
def test_hub_names(name: str) -> None:
    assert not looks_like_a_path(name)


def test_other_spellings_of_quantizations() -> None:
    assert QUANTIZATION_ALIASES == {"4bit": "nf4", "8bit": "int8"}
