"""Whatever the value projection has become, attention sees valved values."""

from pathlib import Path

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model

import sinkscope
from sinkscope.vscale import attach_, attached, detach_

IDS = torch.randint(0, 250, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_quantized_projections(quantize: str, tmp_path: Path) -> None:
    folder = tiny.save(tiny.build("llama_gqa", hidden_size=64, intermediate_size=64, head_dim=16), tmp_path / "model")
    model = sinkscope.load(folder, quantize=quantize)
    with torch.no_grad():
        bare = model(input_ids=IDS).logits
        attach_(model)
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        for valve in attached(model):
            valve.register_forward_hook(lambda _m, args, out: seen.append((args[0], out)))
        valved = model(input_ids=IDS).logits
        detach_(model)
        assert torch.equal(model(input_ids=IDS).logits, bare)
    assert not torch.equal(valved, bare)
    c = 64 * 16 * model.config.initializer_range**2
    for v, out in seen:
        r = v.float().square().sum(-1, keepdim=True)
        torch.testing.assert_close(out, (r / (r + c) * v.float()).to(v.dtype))


def test_lora_before_after_and_merged() -> None:
    """The valve acts on the sum of base and LoRA, in whatever order they came, and survives the merge."""

    def adapted(first: str) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        model = tiny.build("llama_gqa", initializer_range=0.2)
        if first == "vscale":
            attach_(model)
        config = LoraConfig(r=2, target_modules=["v_proj"], init_lora_weights=False)
        torch.manual_seed(1)
        wrapped = get_peft_model(model, config).eval()
        if first == "lora":
            attach_(model)
        with torch.no_grad():
            unmerged = wrapped(input_ids=IDS).logits
            merged = wrapped.merge_and_unload()
            assert len(attached(merged)) == 2
            by_merge = merged(input_ids=IDS).logits
        torch.testing.assert_close(by_merge, unmerged, rtol=1e-4, atol=1e-5)
        return unmerged, detach_(merged)(input_ids=IDS).logits

    after, bare = adapted("lora")
    before, _ = adapted("vscale")
    torch.testing.assert_close(before, after)
    assert not torch.allclose(after, bare, atol=1e-3)
