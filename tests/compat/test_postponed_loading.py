from pathlib import Path
from typing import Any

import tiny
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM
from upstream import moved, require

HOME = "postponed_loading"


def test_what_is_relied_on() -> None:
    base = "transformers.modeling_utils"
    require(f"{base}:PreTrainedModel._load_pretrained_model", HOME, "model", "state_dict", "checkpoint_files")
    fields = require(f"{base}:LoadStateDictConfig", HOME).__dataclass_fields__
    for name in ("device_map", "hf_quantizer", "weight_mapping"):
        assert name in fields, moved("transformers", f"LoadStateDictConfig has no {name}", HOME)
    loading = "transformers.core_model_loading"
    require(f"{loading}:convert_and_load_state_dict_in_model", HOME, "model", "state_dict", "load_config")
    require(
        f"{loading}:rename_source_key", HOME,
        "source_key", "weight_renamings", "weight_converters", "base_model_prefix", "meta_state_dict",
    )  # fmt: skip
    require(f"{loading}:WeightRenaming", HOME)
    require(f"{loading}:WeightConverter", HOME)


def test_loading_stops_at_a_skeleton_and_goes_on_in_parts(tmp_path: Path) -> None:
    """A mixture of experts, whose stored experts are merged on the way."""
    from sinkscope.compat.postponed_loading import convert_and_load_, loading_replaced, renaming

    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    exact = MixtralForCausalLM(config).eval()
    tiny.save(exact, tmp_path / "model")
    stopped: list[Any] = []

    def stop(model: Any, files: list[str], how: Any) -> Any:
        stopped.append((model, files, how))
        empty = {key: torch.empty_like(x, device="meta") for file in files for key, x in load_file(file).items()}
        return convert_and_load_(model, empty, how, "meta", quantize=False)

    with loading_replaced(stop):
        skeleton, report = AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert stopped, moved("transformers", "from_pretrained does not call _load_pretrained_model", HOME)
    assert not report["missing_keys"]
    assert all(parameter.is_meta for parameter in skeleton.parameters()), moved(
        "transformers", "a model has weights before they are loaded", HOME
    )
    model, files, how = stopped[0]
    rename, stored = renaming(model, how), load_file(files[0])
    first = {key: x for key, x in stored.items() if "layers.0." in rename(key)}
    assert {rename(key) for key in stored} == set(exact.state_dict()), moved(
        "transformers", "stored tensors are renamed otherwise", HOME
    )
    convert_and_load_(model, first, how, "cpu")
    for part, other in zip(model.model.layers, exact.model.layers, strict=True):
        for name, parameter in part.named_parameters():
            if part is model.model.layers[0]:
                assert torch.equal(parameter, other.get_parameter(name)), name
            else:
                assert parameter.is_meta, name
