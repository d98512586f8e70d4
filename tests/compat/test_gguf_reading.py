from pathlib import Path

import gguf
import ggufs
import pytest
import torch
from transformers import AutoModelForCausalLM, PretrainedConfig
from upstream import moved, require

from sinkscope.compat.gguf_reading import unpacked

HOME = "gguf_reading"


def test_what_is_relied_on(tmp_path: Path) -> None:
    splits = require("transformers.integrations.gguf.gguf_tokenizer_mapping:GGUF_PRE_TOKENIZER_SPLITS", HOME)
    assert "llama-bpe" in splits, moved("transformers", "it has no split of Llama 3's tokenizer", HOME)
    require("transformers:GgufConfig", HOME)
    from sinkscope.compat.gguf_reading import rebuilds_split

    assert rebuilds_split("gpt-2")
    assert rebuilds_split("llama-bpe")
    assert not rebuilds_split("of the future")
    path = ggufs.write(tmp_path / "tiny.gguf")
    config, _ = PretrainedConfig.get_config_dict(str(tmp_path), gguf_file=str(path))
    assert config["model_type"] == "llama"
    model = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file=str(path), **unpacked())
    what = "a model from a GGUF file is not unpacked"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}, moved("transformers", what, HOME)
    assert getattr(model.config, "quantization_config", None) is None, moved("transformers", what, HOME)


def test_the_package_is_asked_when_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sinkscope.compat.gguf_reader import Reader
    from sinkscope.compat.gguf_reading import quickly

    made, tables = [], []
    usual = gguf.GGUFReader, gguf.get_tensor_name_map
    monkeypatch.setattr(Reader, "__init__", lambda self, path: made.append(path) or usual[0].__init__(self, path))
    monkeypatch.setattr(gguf, "get_tensor_name_map", lambda *which: tables.append(which) or usual[1](*which))
    path = ggufs.write(tmp_path / "tiny.gguf")
    model = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file=str(path), **unpacked())
    assert not made
    assert len(tables) > 1
    tables.clear()
    with quickly():
        quick = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file=str(path), **unpacked())
    assert len(made) == 2, moved("transformers", "it reads a configuration and weights through other classes", HOME)
    assert len(tables) == 1, moved("transformers", "it finds tensors' names in another way", HOME)
    expected = model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in quick.state_dict().items())
    assert gguf.GGUFReader is usual[0]
