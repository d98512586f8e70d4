"""A GGUF file is analyzed as the folder that its unpacked weights make, and what cannot be read is said in one line."""

import hashlib
import json
import logging
import random
import shutil
import sys
from pathlib import Path

import gguf
import ggufs
import numpy as np
import pandas.testing
import pytest
import tiny
import torch
from huggingface_hub import HfApi, constants

import sinkscope
from sinkscope.cli import main
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.loading import load
from sinkscope.loading.gguf_header import read_header
from sinkscope.loading.load import load_model, load_tokenizer
from sinkscope.loading.resolve import resolve
from sinkscope.planning import plan as planning
from sinkscope.planning.configured import read_configuration
from sinkscope.training.save import base_of
from sinkscope.vscale import attach_, save

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = {"sequences": 2, "tokens": 32, "device": "cpu"}
IDS = torch.arange(2, 34)[None]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama; tests must not write into its folder."""
    return ggufs.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def refusal(name: Path | str, **options: object) -> str:
    with pytest.raises(SinkscopeError) as caught:
        load_model(str(name), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_analyzed_as_the_folder_of_its_unpacked_weights(file: Path, tmp_path: Path, text: Path, dtype: str) -> None:
    loaded = load_model(str(file), dtype=dtype)
    assert loaded.model.dtype == (torch.float32 if dtype == "auto" else torch.bfloat16)
    assert getattr(loaded.model.config, "quantization_config", None) is None
    loaded.model.save_pretrained(tmp_path / "folder")
    loaded.tokenizer.save_pretrained(tmp_path / "folder")
    packed = sinkscope.analyze(file, data=text, dtype=dtype, **SMALL)  # type: ignore[arg-type]
    folder = sinkscope.analyze(tmp_path / "folder", data=text, **SMALL)  # type: ignore[arg-type]
    assert packed.headline == folder.headline
    assert packed.info["data"] == folder.info["data"]
    for name, table in folder.run.tables.items():
        pandas.testing.assert_frame_equal(packed.run.tables[name], table, check_exact=True, obj=name)


def test_holds_the_model_that_was_written(file: Path) -> None:
    loaded, model = load_model(str(file)), tiny.build("llama_gqa", seed=3)
    with torch.no_grad():
        found, expected = loaded.model(input_ids=IDS).logits, model(input_ids=IDS).logits
    assert 0 < (found - expected).abs().max() < 0.02 * expected.abs().max()  # eight bits per weight cost a little
    assert loaded.tokenizer("ab cd")["input_ids"] == tiny.tokenizer()("ab cd")["input_ids"]
    assert load_tokenizer(str(file))("é")["input_ids"] == tiny.tokenizer()("é")["input_ids"]


@pytest.mark.usefixtures("one_page")
def test_run_json_says_what_the_file_was(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["analyze", str(file), "--sequences", "2", "--tokens", "32", "--device", "cpu", "--out", str(out)]) == 0
    model = json.loads((out / "run.json").read_text())["model"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert model["weights_sha256"] == digest
    assert model["gguf"] == {"file": file.name, "sha256": digest, "tensors": ggufs.TYPES}
    assert model["quantization"] is None


def test_a_header_is_taken_apart_once_for_each_of_its_uses(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large vocabulary takes a while each time: header, configuration, tokenizer and weights, and no plan."""
    made: list[str] = []
    usual = gguf.GGUFReader.__init__
    monkeypatch.setattr(
        gguf.GGUFReader, "__init__", lambda self, *path: made.append(type(self).__name__) or usual(self, *path)
    )
    path = shutil.copy(file, tmp_path / "a.gguf")  # of which nothing is known yet
    resolved = resolve(str(path))
    assert made == ["Reader", "Reader"]
    load_model(str(path), resolved=resolved)
    assert made == ["Reader"] * 4
    read_configuration(resolved)
    assert len(made) == 4


@pytest.mark.parametrize("seed", range(4))
def test_what_is_garbled_is_refused_or_read(file: Path, tmp_path: Path, seed: int) -> None:
    """Whatever bytes stand in a header: one line, and no crash, no endless loop, no other class of exception."""
    drawn = random.Random(seed)
    whole = file.read_bytes()
    header = whole.index(b"output_norm.weight")
    path = tmp_path / "a.gguf"
    for _ in range(12):
        garbled = bytearray(whole)
        for _ in range(drawn.choice((1, 1, 4))):
            garbled[drawn.randrange(4, header)] = drawn.choice((0, 1, 8, 9, 127, 255, drawn.randrange(256)))
        path.write_bytes(garbled)
        said = ""
        try:
            load_model(str(path))
        except SinkscopeError as error:
            said = str(error)
        assert "\n" not in said


def test_loading_is_silent(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(file))
    assert capfd.readouterr() == ("", "")


def test_a_folder_with_one_file_or_a_named_one(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "a.gguf")
    assert resolve(str(tmp_path)).gguf_file == "a.gguf"
    ggufs.write(tmp_path / "b.gguf")
    with pytest.raises(RequestError, match=r"name a file with `gguf_file`; there are 'a.gguf', 'b.gguf'"):
        resolve(str(tmp_path))
    assert load_model(str(tmp_path), gguf_file="b.gguf").description["gguf"]["file"] == "b.gguf"
    with pytest.raises(RequestError, match=r"no GGUF file 'c.gguf'; there are 'a.gguf', 'b.gguf'"):
        resolve(str(tmp_path), gguf_file="c.gguf")
    with pytest.raises(RequestError, match="leave out `gguf_file`"):
        resolve(str(tmp_path / "a.gguf"), gguf_file="b.gguf")
    tiny.save(tiny.build("llama_gqa"), tmp_path)
    assert resolve(str(tmp_path)).gguf is None  # safetensors come first


def test_a_tokenizer_beside_the_file_is_not_its_own(tmp_path: Path) -> None:
    ggufs.write(tmp_path / "a.gguf", tokenizer=False)
    tiny.tokenizer().save_pretrained(tmp_path)
    assert "holds no tokenizer" in refusal(tmp_path / "a.gguf")


def test_of_the_hub(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--model"
    snapshot = repository / "snapshots" / COMMIT
    (snapshot / "in").mkdir(parents=True)
    shutil.copy(file, snapshot / "in" / "a.gguf")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    loaded = load_model("owner/model", gguf_file="in/a.gguf")
    assert (loaded.revision, loaded.description["gguf"]["file"]) == (COMMIT, "in/a.gguf")
    with pytest.raises(SinkscopeError, match=r"'b.gguf' of owner/model is not in the local cache"):
        resolve("owner/model", gguf_file="b.gguf")

    class Info:
        sha = COMMIT
        siblings = (type("File", (), {"rfilename": "in/a.gguf"}),)

    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: Info)
    with pytest.raises(RequestError, match=r"name a file with `gguf_file`; there is 'in/a.gguf'"):
        resolve("owner/model")
    with pytest.raises(RequestError, match=r"no GGUF file 'b.gguf'; there is 'in/a.gguf'"):
        resolve("owner/model", gguf_file="b.gguf")


def test_plan(file: Path) -> None:
    assert (
        planning.plan(file, tokens=32).choice.parameters.total.parameters
        == load_model(str(file)).model.num_parameters()
    )
    assert read_configuration(resolve(str(file))).config.num_hidden_layers == 2


def test_an_adapter_of_a_gguf_file(file: Path, tmp_path: Path) -> None:
    loaded = load_model(str(file))
    attach_(loaded.model)
    for number, base in enumerate((loaded.description, base_of(loaded))):
        adapter = save(loaded.model, tmp_path / str(number), base=base)
        assert load_model(str(adapter)).vscale == "learned"
        with pytest.raises(RequestError, match="`gguf_file` is that of the base"):
            resolve(str(adapter), gguf_file="tiny.gguf")


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_quantized_as_the_unpacked_folder(quantize: str, file: Path, tmp_path: Path) -> None:
    plain = load_model(str(file))
    plain.model.save_pretrained(tmp_path)
    plain.tokenizer.save_pretrained(tmp_path)
    loaded, expected = (load_model(str(path), quantize=quantize, device="cpu") for path in (file, tmp_path))
    for name, weight in expected.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight, rtol=0, atol=0, msg=name)
    assert loaded.description["quantization"] == quantize
    assert loaded.description["weights_sha256"] == plain.weights_sha256, "the file's, not that of what was unpacked"
    assert loaded.description["gguf"] == plain.description["gguf"]


def test_what_reads_safetensors_is_refused(file: Path) -> None:
    assert "`stream` reads safetensors" in refusal(file, stream=True)
    with pytest.raises(RequestError, match=r"`revision` is for models of the Hugging Face Hub, and .* is a file"):
        resolve(str(file), revision="main")


@pytest.mark.parametrize("kept", [0, 3, 30, 900, 0.5, 0.999])
def test_cut_short(kept: float, file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: int(kept * len(whole)) if kept < 1 and kept else int(kept)])
    assert "is not a whole GGUF file" in refusal(cut)


def test_an_architecture_that_transformers_cannot_read(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(file.read_bytes().replace(b"llama", b"rwkv6"))  # of the same length, so that nothing moves
    assert "transformers cannot read" in refusal(other)
    assert "'rwkv6'" in refusal(other)


def test_an_architecture_without_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sinkscope.models.families import FAMILIES

    path = ggufs.write(tmp_path / "a.gguf")
    monkeypatch.delitem(FAMILIES, "llama")
    assert "architecture 'llama'" in refusal(path)


def test_a_tokenizer_of_an_unknown_kind(tmp_path: Path) -> None:
    path = ggufs.write(tmp_path / "a.gguf")
    path.write_bytes(path.read_bytes().replace(b"\x04\0\0\0\0\0\0\0gpt2", b"\x04\0\0\0\0\0\0\0rwkv"))
    assert "cannot read the tokenizer" in refusal(path)
    assert "of kind 'rwkv'" in refusal(path)


def test_splits_that_transformers_does_not_know_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: Path
) -> None:
    with caplog.at_level(logging.WARNING):
        load_tokenizer(str(file))
    assert not caplog.text
    path = tmp_path / "a.gguf"
    path.write_bytes(file.read_bytes().replace(b"gpt-2", b"other"))
    with caplog.at_level(logging.WARNING):
        load_tokenizer(str(path))
    assert "not as 'other'" in caplog.text


def test_digits_are_set_apart_where_the_file_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: Path
) -> None:
    """GPT-2 keeps a blank with its number, and the numbers together."""
    path = tmp_path / "a.gguf"
    path.write_bytes(file.read_bytes().replace(b"\x05\0\0\0\0\0\0\0gpt-2", b"\x06\0\0\0\0\0\0\0smollm"))
    with caplog.at_level(logging.WARNING):
        tokenizer = load_tokenizer(str(path))
    assert not caplog.text
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("in   2024\u00b2")
    assert [piece for piece, _ in pieces] == ["in", "\u0120\u0120\u0120", "2", "0", "2", "4", "\u00c2\u00b2"]
    whole = load_tokenizer(str(file)).backend_tokenizer.pre_tokenizer.pre_tokenize_str("in   2024")
    assert [piece for piece, _ in whole] == ["in", "\u0120\u0120", "\u01202024"]


def test_scaled_rotary_positions_are_not_passed_over(tmp_path: Path) -> None:
    path = ggufs.write(tmp_path / "a.gguf", lambda writer: writer.add_string("llama.rope.scaling.type", "linear"))
    assert "scales its rotary positions" in refusal(path)


def test_layers_that_the_file_does_not_hold(file: Path, tmp_path: Path) -> None:
    whole, key = file.read_bytes(), b"llama.block_count"
    place = whole.index(key) + len(key) + 4
    path = tmp_path / "a.gguf"
    path.write_bytes(whole[:place] + (1 << 27).to_bytes(4, "little") + whole[place + 4 :])
    assert "asks for 134217728 layers and holds tensors of 2" in refusal(path)


def test_one_part_of_several(tmp_path: Path) -> None:
    path = ggufs.write(tmp_path / "a.gguf", lambda writer: writer.add_uint16("split.count", 3))
    assert "one of 3 parts" in refusal(path)


def test_without_the_package(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'sinkscope[gguf]'" in refusal(file)


WRONG = {
    "cut": "is not a whole GGUF file",
    "foreign": "is no GGUF file",
    "architecture": "transformers cannot read",
    "several": "name a file with --gguf-file",
    "tokenizer": "holds no tokenizer",
}


def _wrong(kind: str, file: Path, folder: Path) -> Path:
    """A model in one GGUF file, or several, that cannot be measured."""
    path, whole = folder / "a.gguf", file.read_bytes()
    if kind == "several":
        shutil.copy(file, path)
        shutil.copy(file, folder / "b.gguf")
        return folder
    if kind == "tokenizer":
        return ggufs.write(path, tokenizer=False)
    made = {"cut": whole[:-200], "foreign": b"a text\n" * 99, "architecture": whole.replace(b"llama", b"rwkv6")}
    path.write_bytes(made[kind])
    return path


VERBS = {
    "plan": ["plan", "BAD"],
    "analyze": ["analyze", "BAD"],
    "quantize": ["quantize", "BAD", "--methods", "none,w8", "--out", "runs/q"],
    "quantize, second": ["quantize", "GOOD", "BAD", "--methods", "none,w8", "--out", "runs/q"],
    "evaluate": ["evaluate", "BAD", "--out", "runs/e"],
    "finetune": ["finetune", "BAD", "--vscale", "--steps", "1", "--out", "runs/f"],
    "compare": ["compare", "BAD", "GOOD"],
    "compare, second": ["compare", "GOOD", "BAD"],
    "track": ["track", "CHECKPOINTS"],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("wrong", WRONG)
def test_one_line_from_every_verb_and_nothing_left_behind(
    wrong: str,
    verb: str,
    file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And no weights are read before, as those of a sound model that is named first."""
    if (wrong, verb) == ("tokenizer", "plan"):
        pytest.skip("a plan reads no tokenizer")
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    bad = _wrong(wrong, file, tmp_path / "checkpoints" / "step-1")
    before = sorted(tmp_path.rglob("*"))
    named = {"BAD": str(bad), "GOOD": str(file), "CHECKPOINTS": str(tmp_path / "checkpoints")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "load_weights", lambda *_: pytest.fail("weights were read"))
    assert main([named.get(word, word) for word in VERBS[verb]]) != 0
    captured = capfd.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert WRONG[wrong] in captured.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "said"), [("--stream", "reads safetensors"), ("--gguf-file=c.gguf", "no GGUF file")]
)
def test_one_line_about_an_option(
    option: str, said: str, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(file, tmp_path / "a.gguf")
    out = tmp_path / "run"
    assert main(["analyze", str(tmp_path), option, "--out", str(out), "--device", "cpu", "--tokens", "32"]) != 0
    captured = capfd.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert said in captured.err
    assert not out.exists()


def test_numbers_without_a_place_are_refused(tmp_path: Path) -> None:
    extra = np.zeros(7, dtype=np.float32)
    path = ggufs.write(tmp_path / "more.gguf", lambda writer: writer.add_tensor("blk.0.nowhere.weight", extra))
    with pytest.raises(SinkscopeError, match=r"7 stored numbers without a place .*`allow_deviations` leaves them out"):
        load_model(str(path))
    loaded = load_model(str(path), allow_deviations=True)
    assert [(deviation.kind, deviation.allowed) for deviation in loaded.deviations] == [("unused", True)]


def test_factors_of_positions_are_no_weights(tmp_path: Path) -> None:
    factors = np.ones(4, dtype=np.float32)
    path = ggufs.write(tmp_path / "scaled.gguf", lambda writer: writer.add_tensor("rope_freqs.weight", factors))
    plain = ggufs.write(tmp_path / "plain.gguf")
    assert read_header(path, "scaled").numbers == read_header(plain, "plain").numbers
