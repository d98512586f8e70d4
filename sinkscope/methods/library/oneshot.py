"""One run of llm-compressor, as a script for its own environment: `python oneshot.py JOB.json`.

The job names a base model's folder, a method, calibration windows and a target folder; the result is a
compressed-tensors checkpoint. V-scale is attached while the model is calibrated and taken off before it is saved.

llm-compressor pins an older transformers than sinkscope needs, hence the environment. This file imports nothing of
sinkscope but V-scale, and is never imported by it.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

GROUPS = (128, 64, 32, 16)


def group_size(model: torch.nn.Module) -> int:
    """The largest usual group size that divides every linear module's input."""
    linear = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in name]
    fitting = [size for size in GROUPS if all(module.in_features % size == 0 for module in linear)]
    if not fitting:
        sys.exit(f"no group size of {GROUPS} divides the inputs of all linear modules")
    return fitting[0]


def four_bit(model: torch.nn.Module) -> dict[str, Any]:
    """W4A16: symmetric 4-bit weights in groups."""
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group_size(model)}
    return {"group_0": {"targets": ["Linear"], "weights": weights}}


def recipe(method: str, model: torch.nn.Module, *, valved: bool) -> list[Any]:
    """llm-compressor's modifiers for a method."""
    ignore = ["lm_head"]
    if method == "smoothquant":
        return [
            SmoothQuantModifier(smoothing_strength=0.8),
            QuantizationModifier(targets="Linear", scheme="W8A8", ignore=ignore),
        ]
    if method == "gptq":
        return [GPTQModifier(config_groups=four_bit(model), ignore=ignore)]
    # AWQ moves factors from the values into o_proj, which V-scale, not linear in the values, would not let through.
    mappings = [
        {"smooth_layer": "re:.*input_layernorm$", "balance_layers": ["re:.*q_proj$", "re:.*k_proj$", "re:.*v_proj$"]},
        {"smooth_layer": "re:.*post_attention_layernorm$", "balance_layers": ["re:.*gate_proj$", "re:.*up_proj$"]},
        {"smooth_layer": "re:.*up_proj$", "balance_layers": ["re:.*down_proj$"]},
    ]
    return [
        AWQModifier(mappings=mappings) if valved else AWQModifier(),
        QuantizationModifier(config_groups=four_bit(model), ignore=ignore),
    ]


def _keep_valves() -> None:
    """llm-compressor calibrates under eager attention: make that eager attention with V-scale, not past it."""
    from llmcompressor.utils import helpers

    from sinkscope.compat.attention_implementation import ATTRIBUTE
    from sinkscope.vscale.valved_attention import WITH_VALVE

    @contextmanager
    def valved_eager_attention(model: torch.nn.Module) -> Iterator[None]:
        with helpers.patch_attr(model.config, ATTRIBUTE, WITH_VALVE["eager"]):
            yield

    helpers.use_eager_attention = valved_eager_attention


def main(job: dict[str, Any]) -> None:
    """Quantizes as the job says."""
    base = Path(job["base"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto", use_safetensors=True)
    model.to(device)
    if job["vscale"]:
        sys.path.append(job["sinkscope"])  # at the end: its neighbours must not hide this environment's packages
        from sinkscope.vscale.saved import load_into_, read_info

        info = read_info(base)
        assert info is not None  # noqa: S101  (the caller wrote it)
        load_into_(model, base, info)
        _keep_valves()
    if device == "cpu":
        # Pinned memory speeds up copies to a GPU and cannot be had without one; AWQ asks for it all the same.
        IntermediatesCache.pin_memory = lambda *_args, **_options: None
    ids = load_file(job["windows"])["input_ids"]
    rows = {"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist()}
    oneshot(
        model=model,
        tokenizer=str(base),
        dataset=Dataset.from_dict(rows),
        recipe=recipe(job["method"], model, valved=job["vscale"]),
        max_seq_length=ids.shape[1],
        num_calibration_samples=len(ids),
        shuffle_calibration_samples=False,
        pipeline="sequential",
    )
    if job["vscale"]:
        from sinkscope.vscale.attach import detach_

        detach_(model)
    model.save_pretrained(job["out"], save_compressed=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
