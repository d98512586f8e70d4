"""Documents tokenized by stretches give the ids of the whole, one for one, for every kind of tokenizer."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_kinds import (
    CORPUS,
    CUT,
    DEEPSEEK,
    LLAMA_3,
    NOT_CUT,
    O200K,
    gemma,
    gpt2,
    line_by_line,
    llama_3,
    wordpiece,
)
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sinkscope.errors import SinkscopeError
from sinkscope.text import stretches
from sinkscope.text.cuts import cuts_of
from sinkscope.text.documents import Document
from sinkscope.text.packing import pack
from sinkscope.text.patterns import literal, reads_across
from sinkscope.text.sources import open_documents
from sinkscope.text.stretches import Sizes, id_stretches
from sinkscope.text.tokenizing import token_ids

SMALL = Sizes(first=24, longest=96, context=12, margin=12)
LARGER = Sizes(first=64, longest=256, context=64, margin=64)
MADE = {name: cache(make) for name, make in {**CUT, **NOT_CUT, "line_by_line": line_by_line}.items()}

# Words and what is awkward between them: runs of spaces, line breaks, combining marks, characters of several bytes,
# tokens that are found before anything else, and what no vocabulary holds.
PARTS = st.sampled_from(
    ["the", "quick", "Fox", "it's", "isn't", "naïve", "a", "I", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u0301",
     "e\u0301", "我们", "。", "日本", "1", "22", "4444", ".", ",", "...", "'", "_", "<extra>", "<eos>", "foxdog",
     "\u2581", "\u00a0", "\u200d", "🙂", "\u0627\u0644", "\x00", "\x1c", "\ufb01", "\u00a8"]
)  # fmt: skip
SPACED = st.lists(PARTS, min_size=20, max_size=120).map(" ".join)
JOINED = st.lists(st.one_of(PARTS, st.just(" "), st.text(max_size=3)), min_size=20, max_size=160).map("".join)
TEXTS = st.one_of(SPACED, JOINED)


def ids_of(text: str, tokenizer: PreTrainedTokenizerFast, *, special: bool = False) -> list[int]:
    """The ids of a whole text."""
    return token_ids(tokenizer, text, special_tokens=special)


def joined(
    text: str, tokenizer: PreTrainedTokenizerFast, sizes: Sizes = SMALL, piece: int = 7, *, special: bool = False
) -> list[int]:
    """The ids of a text that is read in small pieces."""

    def pieces() -> Iterator[str]:
        return (text[at : at + piece] for at in range(0, len(text), piece))

    return list(chain.from_iterable(id_stretches(Document("text", pieces, special_tokens=special), tokenizer, sizes)))


@pytest.mark.parametrize("name", list(MADE))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS)
def test_stretches_give_the_ids_of_the_whole(name: str, text: str) -> None:
    for special in (False, True):
        assert joined(text, MADE[name](), special=special) == ids_of(text, MADE[name](), special=special)


@pytest.mark.parametrize("name", list(CUT))
def test_plain_text_is_cut(name: str) -> None:
    """Into several stretches, which together are those of the whole."""
    tokenizer, text = MADE[name](), "".join(CORPUS)
    made = list(id_stretches(Document("text", text), tokenizer, LARGER))
    assert list(chain.from_iterable(made)) == ids_of(text, tokenizer)
    assert len(made) > 1


@pytest.mark.parametrize("name", list(NOT_CUT))
def test_a_tokenizer_that_weighs_the_whole_is_not_cut(name: str) -> None:
    assert cuts_of(MADE[name]()) == ()


def test_lines_are_cut_where_there_are_no_spaces() -> None:
    text = "我们走吧今天天气很好\n" * 60
    assert len(list(id_stretches(Document("text", text), MADE["llama_3"](), SMALL))) > 5
    assert joined(text, MADE["llama_3"]()) == ids_of(text, MADE["llama_3"]())


def test_a_text_without_a_place_is_tokenized_at_once() -> None:
    text = "0123456789" * 50
    assert list(id_stretches(Document("text", text), MADE["gpt2"](), SMALL)) == [ids_of(text, MADE["gpt2"]())]


def test_a_step_in_python_or_one_that_is_not_known_is_not_cut() -> None:
    tokenizer = gpt2()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(4)
    assert cuts_of(tokenizer) == ()


def test_a_token_with_a_place_inside_is_not_cut_there() -> None:
    tokenizer = wordpiece()
    assert len(cuts_of(tokenizer)) == 1
    tokenizer.add_tokens(["ab cd"])
    assert cuts_of(tokenizer) == ()


def test_regular_expressions_of_released_models_read_over_no_place() -> None:
    letters = "abcXYZ"
    for pattern in (LLAMA_3, O200K, DEEPSEEK, r"\p{N}{1,3}", r"\w+|[^\w\s]+"):
        assert not reads_across(pattern, letters, " ", letters)
        assert not reads_across(pattern, "a。1", "\n", "a。1")


@pytest.mark.parametrize(
    "pattern",
    ["[^\\n]+", "a.b", "\\w+ \\w+", "(?:\\p{L}+ ?)+", "(?<=a) b", "^a b", "(?:[a-z] |b)+", "[[:alpha:]]+", "(?i:A) b",
     "a\\sb", "\\bfoo", "(a", "a&&b [a-z&&b]", "x*(?= b)a\\1", "\\p{L}+(?=\\s\\p{L})"],
)  # fmt: skip
def test_expressions_that_read_over_or_are_not_understood(pattern: str) -> None:
    assert reads_across(pattern, "ab", " ", "ab")


def test_a_literal_is_matched_as_it_is() -> None:
    assert reads_across(literal("a (b"), "a", " ", "(")
    assert not reads_across(literal("."), "a", " ", "b")


def test_what_reaches_over_a_cut_is_found_while_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a tokenizer not be what it seems, longer stretches are taken until they agree."""
    tokenizer = MADE["line_by_line"]()
    monkeypatch.setattr(stretches, "cuts_of", lambda _tokenizer: cuts_of(MADE["gpt2"]()))
    text = "".join(CORPUS[:10])
    assert joined(text, tokenizer) == ids_of(text, tokenizer)


@pytest.mark.parametrize("make", [gpt2, llama_3, gemma])
@pytest.mark.parametrize("bos", [False, True])
def test_windows_are_those_of_the_whole_document(
    tmp_path: Path, make: Callable[[], PreTrainedTokenizerFast], bos: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, over several documents, and for a few windows as for all."""
    tokenizer = make()
    monkeypatch.setattr(stretches, "Sizes", partial(Sizes, first=64, longest=256, context=32, margin=32))
    texts = ["".join(CORPUS), "short", "".join(reversed(CORPUS))]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_bytes(text.encode())
    stream = [token for text in texts for token in [*ids_of(text, tokenizer), tokenizer.eos_token_id]]
    body = 32 - bos
    for sequences in (1, 3, len(stream) // body, None):
        packed = pack(open_documents(str(tmp_path)), tokenizer, tokens=32, bos=bos, sequences=sequences)
        count = len(packed.input_ids)
        assert count == (len(stream) // body if sequences is None else sequences)
        assert packed.input_ids[:, bos:].flatten().tolist() == stream[: count * body]


def test_no_more_is_read_than_is_needed(tmp_path: Path) -> None:
    """What stands far behind the windows may be anything."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"some plain words and more of them " * 10_000 + b"\xff")
    pack(open_documents(str(path)), MADE["gpt2"](), tokens=16, bos=False, sequences=2)
    with pytest.raises(SinkscopeError, match="not UTF-8 text: invalid start byte at byte 340000"):
        pack(open_documents(str(path)), MADE["gpt2"](), tokens=16, bos=False)


def test_a_few_windows_of_a_large_text_cost_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two million characters some ten thousand are tokenized, the looks around the cut included."""
    seen: list[int] = []

    def counted(tokenizer: PreTrainedTokenizerFast, text: str, *, special_tokens: bool) -> list[int]:
        seen.append(len(text))
        return token_ids(tokenizer, text, special_tokens=special_tokens)

    monkeypatch.setattr(stretches, "token_ids", counted)
    (tmp_path / "a.txt").write_text("a sentence of plain words follows here and ends\n" * 40_000)
    pack(open_documents(str(tmp_path)), MADE["gpt2"](), tokens=64, bos=True, sequences=2)
    assert sum(seen) < 40_000
