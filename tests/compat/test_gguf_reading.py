from pathlib import Path

import ggufs
import torch
from transformers import AutoModelForCausalLM, PretrainedConfig
from upstream import moved, require

HOME = "gguf_reading"


def test_what_is_relied_on(tmp_path: Path) -> None:
    splits = require("transformers.integrations.gguf.gguf_tokenizer_mapping:GGUF_PRE_TOKENIZER_SPLITS", HOME)
    assert "llama-bpe" in splits, moved("transformers", "it has no split of Llama 3's tokenizer", HOME)
    require("transformers:GgufConfig", HOME)
    from sinkscope.compat.gguf_reading import rebuilds_split, unpacked

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
