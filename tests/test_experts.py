"""Mixtures of experts: the tap changes nothing, and its tables agree with loops over tokens and experts."""

import io
from typing import Any

import pandas as pd
import pytest
import torch
from families import EXPERTS as MOE
from reference import experts as slow
from reference.agree import assert_table
from reference.models import padded, tiny, tokens
from torch import nn

import sinkscope
from sinkscope import Scope, Settings
from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.measure import measure
from sinkscope.capture.hooks.blocks import recording
from sinkscope.capture.statistics.statistic import reading
from sinkscope.capture.tables.expert_tables import forming_layers
from sinkscope.errors import SinkscopeError
from sinkscope.metrics.super_experts import super_experts
from sinkscope.tables.run_folder import Run

LENGTH = 20
SETTINGS = Settings(sink_epsilon=0.25, sink_window=8, early=5, positions=12)


def check(run: Run, model: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> None:
    layers = slow.routed_tokens(model, ids, mask)
    count = len(next(iter(layers.values()))[0].probabilities)
    attended = [row[keep.bool()] for row, keep in zip(ids, torch.ones_like(ids) if mask is None else mask, strict=True)]

    def token(sequence: int, position: int) -> str:
        return str(int(attended[sequence][position]))

    assert {"first", "sink", "other"} == set(run["router"]["group"])
    expected = {
        "experts": slow.experts(layers, count, run["massive"], token),
        "router": slow.router(layers, count, run["sinks"]),
        "routing": slow.routing(layers, run["sinks"]),
    }
    for name, table in expected.items():
        assert_table(name, run[name], table, relative=1e-4, of_largest=1e-6)


@pytest.mark.parametrize("family", MOE)
def test_tables_agree_with_loops_over_tokens_and_experts(family: str) -> None:
    model, ids = tiny(family), tokens(4, LENGTH)
    run = sinkscope.analyze(model, input_ids=ids, batch_size=3, settings=SETTINGS).run
    check(run, model, ids)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe"])
def test_padding_is_routed_nowhere(family: str, side: str) -> None:
    model = tiny(family)
    ids, mask, labels = padded([LENGTH, 13, 9], side)
    with Scope(model, SETTINGS) as scope:
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
    check(scope.run(), model, ids, mask)


def test_massive_activations_inside_experts_and_super_experts() -> None:
    """One expert's down projection is made to blow one channel up, far beyond all others."""
    model, ids = tiny("qwen3_moe"), tokens(3, LENGTH)
    with torch.no_grad():
        experts = model.model.layers[1].mlp.experts
        experts.gate_up_proj[2, [3, 27]] *= 100
        experts.down_proj[2, 7] *= 30
    run = sinkscope.analyze(model, input_ids=ids, settings=SETTINGS).run
    check(run, model, ids)
    assert run["experts"]["massive"].sum() > 0
    found = run["experts"][run["experts"]["is_super"]]
    assert found[["layer", "expert", "output_channel"]].to_numpy().tolist() == [[1, 2, 7]]
    assert run.info["headline"]["super_experts"] == 1


def step(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits and the gradient of every parameter."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    model.zero_grad()
    logits[mask.bool()].square().mean().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", [name for name in MOE if not name.startswith("llama4")])
def test_the_tap_is_bit_identical_to_eager_experts(family: str) -> None:
    """Only the experts differ: attention goes through the same tap both times."""
    ids, mask, _ = padded([LENGTH, 13], "left")
    model = tiny(family)
    model.set_experts_implementation("eager")
    scope = Scope(model, Settings(backward=False))
    with recording(model, scope.family, scope.recorder):
        logits, gradients = step(model, ids, mask)
        model.config._experts_implementation_internal = "eager"
        expected_logits, expected = step(model, ids, mask)
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=0)
    assert expected.keys() == gradients.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=0, msg=name)
    assert any("experts" in name for name in expected)


def test_the_experts_implementation_is_restored_also_after_an_exception() -> None:
    model, ids = tiny("mixtral"), tokens(2, LENGTH)
    before = model.config._experts_implementation
    try:
        with Scope(model, SETTINGS):
            assert model.config._experts_implementation != before
            model(input_ids=ids, use_cache=False)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert model.config._experts_implementation == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("replaced", [nn.Identity(), None], ids=["another module", "codes"])
def test_quantized_experts_are_refused(replaced: nn.Module | None) -> None:
    model = tiny("qwen3_moe")
    mlp = model.model.layers[1].mlp
    if replaced is None:
        mlp.experts.down_proj = nn.Parameter(torch.zeros(6, 32, 24, dtype=torch.int8), requires_grad=False)
    else:
        replaced.num_experts = 6
        mlp.experts = replaced
    with pytest.raises(SinkscopeError, match="in 16 or 32 bit"), Scope(model, SETTINGS):
        pass
    assert model.config._experts_implementation != "sinkscope_experts"


def test_micro_batches_add_up() -> None:
    model, ids = tiny("olmoe"), tokens(5, LENGTH)
    runs = [sinkscope.analyze(model, input_ids=ids, batch_size=b, settings=SETTINGS).run for b in (1, 5)]
    for name in ("experts", "router", "routing"):
        pd.testing.assert_frame_equal(runs[0][name], runs[1][name], rtol=1e-5)


@pytest.mark.parametrize("family", ["deepseek_v3", "gpt_oss"])
def test_a_stored_state_and_two_merged_ones_give_the_same_tables(family: str) -> None:
    model, ids = tiny(family), tokens(5, LENGTH)
    whole = sinkscope.analyze(model, input_ids=ids, settings=SETTINGS).run
    scopes = [Scope(model, SETTINGS, first_sequence=first) for first in (0, 2)]
    for scope, part in zip(scopes, ids.split([2, 3]), strict=True):
        with scope:
            model(input_ids=part, labels=part, use_cache=False).loss.backward()
    file = io.BytesIO()
    torch.save(scopes[1].recorder.state(), file)
    file.seek(0)
    with reading():
        scopes[0].recorder.merge(torch.load(file, weights_only=True))
    merged = scopes[0].run()
    for name in {"experts", "router", "routing", "learned_sinks"} & set(whole.tables):
        pd.testing.assert_frame_equal(merged[name], whole[name], rtol=1e-5, obj=name)


@pytest.mark.parametrize("family", ["deepseek_v3", "llama4_text"])
def test_bfloat16_routes_alike_layer_by_layer(family: str) -> None:
    """Passes that rounded otherwise would route some tokens elsewhere."""
    model, ids = tiny(family).bfloat16(), tokens(4, LENGTH)
    whole, layer_by_layer = (
        measure(model, ids, settings=SETTINGS, batch_size=2, driver=driver) for driver in (None, LayerByLayer(model))
    )
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(layer_by_layer[name], table, rtol=1e-5, atol=1e-7, obj=name)
    assert whole.info["headline"]["bound_violations"] == 0


def test_without_gradients() -> None:
    model, ids = tiny("qwen2_moe"), tokens(3, LENGTH)
    forward = Settings(**{**vars(SETTINGS), "backward": False})
    check(sinkscope.analyze(model, input_ids=ids, settings=forward).run, model, ids)


def test_expert_layers_have_no_common_down_in_and_dense_models_no_experts() -> None:
    ids = tokens(2, LENGTH)
    run = sinkscope.analyze(tiny("qwen2_moe"), input_ids=ids, settings=SETTINGS).run
    assert set(run["sites"].query("site == 'down_in'")["layer"]) == {0}
    assert set(run["experts"]["layer"]) == {1, 2}
    assert set(run["massive"].query("site == 'down_in'")["layer"]) == {0}
    dense = sinkscope.analyze(tiny("llama_gqa"), input_ids=ids, settings=SETTINGS).run
    assert not {"experts", "router", "routing"} & set(dense.tables)
    assert dense.info["headline"]["super_experts"] is None
    assert dense.info["headline"]["sink_routing_overlap"] is None


def test_super_experts_follow_the_papers_three_conditions() -> None:
    peaks = torch.full((4, 100), 1.0).numpy()
    peaks[1, 3], peaks[2, 5], peaks[3, 7] = 1000.0, 90.0, 500.0
    found = super_experts(peaks, torch.tensor([True, True, True, False]).numpy())
    assert [tuple(at) for at in torch.nonzero(torch.tensor(found)).tolist()] == [(1, 3)]
    massive = pd.DataFrame(
        [
            (1, "h_out", 0, 0, 7, True),
            (2, "h_out", 0, 0, 7, True),
            (3, "h_out", 0, 4, 7, True),
            (0, "r_mlp", 0, 0, 7, True),
        ],
        columns=["layer", "site", "sequence", "position", "channel", "is_massive"],
    )
    columns = ["layer", "site", "sequence", "entries"]
    counts = pd.DataFrame([(layer, "h_out", 0, 1) for layer in (1, 2, 3)], columns=columns)
    assert forming_layers(massive, counts) == {1, 3}
    beyond = pd.DataFrame([(1, "h_out", 0, 1), (2, "h_out", 0, 2), (3, "h_out", 0, 1)], columns=columns)
    assert forming_layers(massive, beyond) == {1}


@pytest.mark.parametrize("length", [30, 64])
def test_entries_that_were_not_listed_are_not_formed(length: int) -> None:
    model, ids = tiny("mixtral"), tokens(2, length)
    rising = torch.zeros(length, model.config.hidden_size)
    rising[:, 7] = torch.arange(length)
    with (
        torch.no_grad()
    ):  # every token brings a massive entry, and no layer makes any; a layer makes others the largest
        model.get_input_embeddings().weight[:, 7] = 20000.0
    model.get_submodule("model.layers.0").register_forward_hook(lambda _module, _args, output: output - rising)
    model.get_submodule("model.layers.1").register_forward_hook(lambda _module, _args, output: output + 2 * rising)
    run = sinkscope.analyze(model, input_ids=ids, settings=SETTINGS).run
    counts = run["massive_counts"].query("site == 'h_out'")
    assert set(counts["entries"]) == {length}
    assert forming_layers(run["massive"], run["massive_counts"]) == {0}
