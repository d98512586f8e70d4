"""Names put together by chance: whatever parses has a canonical spelling that means the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sinkscope.methods.grammar import canonical, parse

PIECES = ["w", "a", "-", "8", "4", "2", "g", "32", "128", "asym", "down", "static", "dynamic", "tensor", "fp8", "e5m2",
          "mxfp4", "nvfp4", "mxfp6e3m2", "cache", "k", "v", "sinks", "window", "+", "quanto-cache-",
          "bit", "fp8-cache", "cache-k4v4", "nf4"]  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join))
def test_the_canonical_spelling_means_the_same(name: str) -> None:
    found = parse(name)
    if found is None:
        assert canonical(name) == name
    else:
        again = parse(found.name)
        assert again == found
        assert again is not None
        assert again.name == found.name


@settings(max_examples=2000, deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_name_or_none(name: str) -> None:
    assert parse(name) is None or canonical(canonical(name)) == canonical(name)
