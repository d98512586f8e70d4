"""Whatever the value projection has become, attention sees valved values."""

from pathlib import Path

import pytest
import tiny
import torch

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
