"""Tokens on disk are the windows that packing in memory makes, also when writing was cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch

from sinkscope.errors import SinkscopeError
from sinkscope.text.documents import Document
from sinkscope.text.packing import pack
from sinkscope.training import tokens
from sinkscope.training.tokens import read_windows, write_tokens

DOCUMENTS = [Document(str(n), f"document {n}: " + "words " * (n % 7)) for n in range(50)]


@pytest.mark.parametrize("bos", [False, True])
def test_windows_are_those_of_packing(bos: bool, tmp_path: Path) -> None:
    file, tokenizer = tmp_path / "text.bin", tiny.tokenizer()
    write_tokens(DOCUMENTS, tokenizer, file, limit=None)
    windows = read_windows(file, tokenizer, tokens=16, bos=bos)
    expected = pack(DOCUMENTS, tokenizer, tokens=16, bos=bos).input_ids
    assert len(windows) == len(expected)
    assert torch.equal(windows[torch.arange(len(windows))], expected)
    chosen = torch.tensor([5, 0, 5])
    assert torch.equal(windows[chosen], expected[chosen])


def test_writing_goes_on_where_it_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_DOCUMENTS", 4)
    tokenizer = tiny.tokenizer()

    def cut() -> Iterator[Document]:
        yield from DOCUMENTS[:18]
        raise KeyboardInterrupt

    write_tokens(DOCUMENTS, tokenizer, tmp_path / "whole.bin", limit=None)
    with pytest.raises(KeyboardInterrupt):
        write_tokens(cut(), tokenizer, tmp_path / "cut.bin", limit=None)
    with (tmp_path / "cut.bin").open("ab") as file:
        file.write(b"half a write that was not recorded")
    write_tokens(DOCUMENTS, tokenizer, tmp_path / "cut.bin", limit=None)
    assert (tmp_path / "cut.bin").read_bytes() == (tmp_path / "whole.bin").read_bytes()


def test_no_more_is_read_than_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_DOCUMENTS", 4)
    read: list[int] = []
    documents = (read.append(n) or document for n, document in enumerate(DOCUMENTS))  # type: ignore[func-returns-value]
    write_tokens(documents, tiny.tokenizer(), tmp_path / "text.bin", limit=100)
    assert len(read) < 12
    assert len(read_windows(tmp_path / "text.bin", tiny.tokenizer(), tokens=16, bos=False, most=3)) == 3


def test_a_text_without_a_window_is_refused(tmp_path: Path) -> None:
    write_tokens(DOCUMENTS[:1], tiny.tokenizer(), tmp_path / "text.bin", limit=None)
    with pytest.raises(SinkscopeError, match="no window of 1000 tokens"):
        read_windows(tmp_path / "text.bin", tiny.tokenizer(), tokens=1000, bos=False)
