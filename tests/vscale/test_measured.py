"""`analyze` on a model with V-scale tells raw from scaled values, in norms and in gradients."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor

import sinkscope
from sinkscope.vscale import VARIANTS, attach_, attached

IDS = torch.randint(0, 250, (3, 40), generator=torch.Generator().manual_seed(3))


def model_with(variant: str) -> torch.nn.Module:
    model = attach_(tiny.build("llama_gqa", initializer_range=0.2), variant=variant)
    for layer, valve in enumerate(attached(model)):
        valve.theta.data = torch.tensor([0.4, -0.6]) * (layer + 1)
    return model


def slow(model: torch.nn.Module) -> list[dict[str, Tensor]]:
    """Raw and scaled values of each layer with batch-summed gradients of the mean loss, all [N, T, K * d]."""
    kept: list[dict[str, Tensor]] = []
    handles = []
    for layer in model.model.layers:
        found: dict[str, Tensor] = {}
        kept.append(found)

        def raw(_m: object, _a: object, output: Tensor, found: dict[str, Tensor] = found) -> None:
            output.retain_grad()
            found["v"] = output

        def scaled(_m: object, _a: object, output: Tensor, found: dict[str, Tensor] = found) -> None:
            output.retain_grad()
            found["heads"] = output

        handles += [layer.self_attn.v_proj.register_forward_hook(raw)]
        handles += [layer.self_attn.vscale.register_forward_hook(scaled)]
    model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    for handle in handles:
        handle.remove()
    for found in kept:
        heads = found.pop("heads")
        found["v_scaled"] = heads.transpose(1, 2).flatten(2)
        found["v_scaled_grad"] = heads.grad.transpose(1, 2).flatten(2)
        found["v_grad"] = found["v"].grad
    return kept


@pytest.mark.parametrize("variant", VARIANTS)
def test_raw_and_scaled_values_are_told_apart(variant: str) -> None:
    model = model_with(variant)
    expected = slow(model)
    analysis = sinkscope.analyze(model, input_ids=IDS)
    at = analysis.positions.set_index(["layer", "site"])
    for layer, found in enumerate(expected):
        for site in ("v", "v_scaled"):
            rows = at.loc[(layer, site)]
            np.testing.assert_allclose(rows["norm"], found[site].detach().norm(dim=-1).mean(0), rtol=1e-4)
            summed = found[f"{site}_grad"].sum(0).norm(dim=-1)
            np.testing.assert_allclose(rows["grad_norm"], summed, rtol=1e-4, atol=1e-6 * float(summed.max()))
        for head in range(2):
            rows = analysis.values.query("layer == @layer and kv_head == @head")
            for column, site in (("norm", "v"), ("norm_scaled", "v_scaled")):
                norms = found[site].detach().unflatten(-1, (2, -1))[:, :, head].norm(dim=-1).mean(0)
                np.testing.assert_allclose(rows[column], norms, rtol=1e-4)
    assert (analysis.bounds["violations"] == 0).all()
    assert analysis.info["model"]["vscale"] == variant


def test_the_table_holds_theta_and_c() -> None:
    model = model_with("learned")
    table = sinkscope.analyze(model, input_ids=IDS).vscale
    c = 32 * 8 * 0.2**2
    theta = [0.4, -0.6, 0.8, -1.2]
    expected = pd.DataFrame({"layer": [0, 0, 1, 1], "kv_head": [0, 1, 0, 1], "theta": theta, "C": c * np.exp(theta)})
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=1e-5)


def test_without_vscale_there_is_no_such_table_and_the_sites_coincide() -> None:
    analysis = sinkscope.analyze(tiny.build("llama_gqa"), input_ids=IDS)
    assert "vscale" not in analysis.tables
    assert analysis.info["model"]["vscale"] is None
    by_site = {
        site: rows.drop(columns="site").reset_index(drop=True) for site, rows in analysis.positions.groupby("site")
    }
    pd.testing.assert_frame_equal(by_site["v"], by_site["v_scaled"])


def test_the_report_draws_theta() -> None:
    figures = sinkscope.analyze(model_with("learned"), input_ids=IDS).figures()
    titles = [axes.get_title() for axes in figures["value_drain"].axes]
    assert any("theta" in title for title in titles)
