"""A text that spells a control token is text, unless its source says otherwise; every other text gives the same ids."""

import json
from pathlib import Path

import families
import pytest
import tiny
import torch

from sinkscope.analysis.run import analyze
from sinkscope.capture.settings import Settings
from sinkscope.evaluation.texts import read_texts
from sinkscope.inputs import TextSource
from sinkscope.loading.load import load_tokenizer
from sinkscope.text.packing import pack
from sinkscope.text.sources import open_text
from sinkscope.text.tokenizing import batch_token_ids, token_ids
from sinkscope.training.recipe import DataConfig
from sinkscope.training.tokens import read_windows, write_tokens

TEXT = "<bos> opens a window, and <eos> ends a document: <bos><bos>"
PLAIN = "A line of text, with < and > and | in it.\n\n  def f(x): return x  # ünïcödé 12345 \t\n"


def of(folder: Path, *texts: str, special_tokens: bool = False) -> TextSource:
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return TextSource(str(folder / "text.jsonl"), special_tokens=special_tokens)


@pytest.mark.parametrize("tokenizer", [tiny.tokenizer(), load_tokenizer("demo")], ids=["tiny", "demo"])
def test_what_is_spelled_is_text(tokenizer: object) -> None:
    control = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    found = token_ids(tokenizer, TEXT)
    assert not control & set(found)
    assert tokenizer.decode(found) == TEXT
    taken = token_ids(tokenizer, TEXT, special_tokens=True)
    assert (taken.count(tokenizer.bos_token_id), taken.count(tokenizer.eos_token_id)) == (3, 1)
    assert taken == tokenizer(TEXT, add_special_tokens=False)["input_ids"], "and the tokenizer is as it was"


@pytest.mark.parametrize("tokenizer", [tiny.tokenizer(), load_tokenizer("demo")], ids=["tiny", "demo"])
def test_other_texts_give_the_ids_that_they_always_gave(tokenizer: object) -> None:
    texts = [PLAIN, Path(__file__).read_text().replace("<bos>", "").replace("<eos>", "")]
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert batch_token_ids(tokenizer, texts) == batch_token_ids(tokenizer, texts, special_tokens=True) == expected


@pytest.mark.parametrize("special", [False, True])
def test_everybody_who_reads_a_text_reads_it_so(special: bool, tmp_path: Path) -> None:
    tokenizer, source = tiny.tokenizer(), of(tmp_path, TEXT * 3, special_tokens=special)
    packed = pack(open_text(source), tokenizer, tokens=16, bos=True, sequences=3).input_ids
    assert bool((packed[:, 1:] == tokenizer.bos_token_id).any()) is special
    (scored,) = read_texts(open_text(source), tokenizer, count=1, characters=1000)
    assert (tokenizer.bos_token_id in scored.ids) is special
    file = tmp_path / "tokens.bin"
    write_tokens(open_text(source), tokenizer, file, limit=None)
    windows = read_windows(file, tokenizer, tokens=16, bos=True)
    assert torch.equal(windows[torch.arange(3)], packed)


def test_it_is_recorded_where_it_is_no_text(tmp_path: Path) -> None:
    model, tokenizer = families.tiny("llama_gqa"), tiny.tokenizer()
    settings = Settings(early=7, positions=16, sink_window=8, backward=False)
    runs = {
        special: analyze(model, tokenizer, data=of(tmp_path, TEXT * 3, special_tokens=special), sequences=2, tokens=16,
                         settings=settings)
        for special in (False, True)
    }  # fmt: skip
    data = {special: run.info["data"] for special, run in runs.items()}
    assert data[True]["special_tokens"] is True
    assert "special_tokens" not in data[False]
    assert data[True]["sha256"] != data[False]["sha256"]
    assert DataConfig.of(TextSource("x", special_tokens=True), tokens=8).text().special_tokens
