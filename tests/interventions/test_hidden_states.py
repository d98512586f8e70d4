"""Changed entries and channels of the residual stream, and single weights, against plain loops on three structures."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from families import tiny
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError
from sinkscope.interventions.hidden import LargeEntries, Tally, channels_zeroed, entries_replaced, other_channels
from sinkscope.interventions.weights import WeightAt, find_super_weights, other_weights, weights_zeroed
from sinkscope.models.families import family_of
from sinkscope.passes.batches import batches_of

STRUCTURES = ("llama_gqa", "gemma3_text", "gpt_neox", "gpt2")
LAYER, CHANNELS = 1, (3, 17)


@pytest.fixture(scope="module", params=STRUCTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A model whose layer 1 writes large entries into two channels."""
    made = tiny(request.param)
    family = family_of(made)
    added = family.decoder_layers(made)[LAYER].get_submodule(family.mlp_added)
    spread = torch.zeros(32)
    spread[list(CHANNELS)] = torch.tensor([2000.0, -900.0])

    def grow(_module: object, _args: object, output: Tensor) -> Tensor:
        first = torch.zeros(output.shape[1])
        first[[0, 4]] = 1
        return output + first[:, None] * spread

    added.register_forward_hook(grow)
    return made


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(3, 258, (2, 11), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


@contextmanager
def _slowly(model: PreTrainedModel, channels: dict[int, float], threshold: float) -> Iterator[list[int]]:
    """Sets entries one by one."""
    changed: list[int] = []

    def hook(_module: object, _args: object, output: Tensor) -> Tensor:
        stream = output.clone()
        for b in range(stream.shape[0]):
            for t in range(stream.shape[1]):
                for channel, value in channels.items():
                    if abs(float(stream[b, t, channel])) > threshold:
                        stream[b, t, channel] = value
                        changed.append(t)
        return stream

    handle = family_of(model).decoder_layers(model)[LAYER].register_forward_hook(hook)
    try:
        yield changed
    finally:
        handle.remove()


@pytest.mark.parametrize("values", [None, (500.0, -7.0)])
def test_large_entries_are_replaced_where_they_are(
    model: PreTrainedModel, ids: Tensor, values: tuple[float, ...] | None
) -> None:
    before, tally = _logits(model, ids), Tally()
    with entries_replaced(model, {LAYER: LargeEntries(CHANNELS, 100.0, values)}, tally=tally):
        fast = _logits(model, ids)
    with _slowly(model, dict(zip(CHANNELS, values or (0.0, 0.0), strict=True)), 100.0) as changed:
        slow = _logits(model, ids)
    assert torch.equal(fast, slow)
    assert sorted(changed) == [0, 0, 0, 0, 4, 4, 4, 4]
    assert tally.mean == 4
    assert not torch.equal(fast, before)
    assert torch.equal(_logits(model, ids), before)


def test_the_control_changes_as_many_entries_elsewhere(model: PreTrainedModel, ids: Tensor) -> None:
    before = _logits(model, ids)
    large = {LAYER: LargeEntries(CHANNELS, 100.0)}
    drawn = []
    for seed in (1, 2):
        streams, tally = [], Tally()
        with entries_replaced(model, large, moved=seed, tally=tally):
            handle = (
                family_of(model)
                .decoder_layers(model)[LAYER]
                .register_forward_hook(lambda _m, _a, output, streams=streams: streams.append(output.clone()))
            )
            _logits(model, ids)
            one = _logits(model, ids[:1])
            handle.remove()
        zeroed = (streams[0] == 0).nonzero().tolist()
        assert len(zeroed) == 8  # 4 entries in each of 2 sequences
        assert tally.entries == 8 + 4  # the second pass reads one sequence
        assert not {channel for *_, channel in zeroed} & set(CHANNELS)
        assert torch.equal(streams[1] == 0, streams[0][:1] == 0)  # whatever the batch
        assert one.shape[0] == 1
        drawn.append(zeroed)
    assert drawn[0] != drawn[1]
    assert torch.equal(_logits(model, ids), before)


def test_channels_are_zero_for_all_tokens(model: PreTrainedModel, ids: Tensor) -> None:
    before = _logits(model, ids)
    with channels_zeroed(model, {LAYER: CHANNELS}):
        fast = _logits(model, ids)
    with _slowly(model, dict.fromkeys(CHANNELS, 0.0), -1.0):
        slow = _logits(model, ids)
    assert torch.equal(fast, slow)
    assert torch.equal(_logits(model, ids), before)


def test_what_is_measured_has_the_change_in_it(model: PreTrainedModel, ids: Tensor) -> None:
    settings = Settings(backward=False, early=3, positions=8)
    largest = []
    for layers in ({}, {LAYER: LargeEntries(CHANNELS, 100.0)}):
        with entries_replaced(model, layers), Scope(model, settings) as scope, torch.no_grad():
            model(input_ids=ids, use_cache=False)
        sites = scope.run()["sites"].set_index(["site", "layer"])["abs_max"]
        largest.append(sites["h_out", LAYER])
    assert largest[0] > 1500
    assert largest[1] < 100


def test_other_channels_are_others() -> None:
    drawn = {other_channels(CHANNELS, 32, seed) for seed in range(20)}
    assert len(drawn) > 15
    assert all(len(channels) == 2 and not set(channels) & set(CHANNELS) for channels in drawn)


def test_a_layer_out_of_range_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(RequestError, match="layers 0 to 2"), channels_zeroed(model, {3: (0,)}):
        pass


def test_weights_are_zero_and_come_back_bit_for_bit(ids: Tensor) -> None:
    for name in STRUCTURES:
        model = tiny(name)
        before = _logits(model, ids)
        module = family_of(model).decoder_layers(model)[1].get_submodule(family_of(model).down or "")
        stored = module.weight.clone()
        with weights_zeroed(model, [WeightAt(1, 5, 40), WeightAt(1, 5, 41), WeightAt(1, 5, 40)]):
            zero = (module.weight == 0).nonzero().tolist()
            fast = _logits(model, ids)
        assert sorted(zero) == ([[40, 5], [41, 5]] if name == "gpt2" else [[5, 40], [5, 41]])
        assert torch.equal(module.weight, stored)
        assert torch.equal(_logits(model, ids), before)

        def without(_module: object, args: tuple[Tensor, ...], output: Tensor, stored: Tensor = stored) -> Tensor:
            weight = stored.T if name == "gpt2" else stored  # noqa: B023
            output = output.clone()
            output[..., 5] -= args[0][..., 40] * weight[5, 40] + args[0][..., 41] * weight[5, 41]
            return output

        handle = module.register_forward_hook(without)
        torch.testing.assert_close(fast, _logits(model, ids), atol=1e-5, rtol=1e-4)
        handle.remove()


def test_a_weight_that_is_not_there_is_refused() -> None:
    model = tiny("llama_gqa")
    for at, words in ((WeightAt(3, 0, 0), "layers 0 to 2"), (WeightAt(0, 32, 0), "32 rows and 48 columns")):
        with pytest.raises(RequestError, match=words), weights_zeroed(model, [at]):
            pass
    with pytest.raises(RequestError, match="no down projection"), weights_zeroed(tiny("mixtral"), [WeightAt(0, 0, 0)]):
        pass


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_planted_super_weight_is_found(name: str, ids: Tensor) -> None:
    """A weight of a million at a channel that one token excites; the median of the output stays small."""
    model = tiny(name)
    module = family_of(model).decoder_layers(model)[1].get_submodule(family_of(model).down or "")
    spiked = torch.zeros(ids.shape[1], module.weight.shape[0 if name == "gpt2" else 1])
    spiked[6, 40] = 50.0
    handle = module.register_forward_pre_hook(lambda _m, args: (args[0] + spiked,))
    with torch.no_grad():
        module.weight[(40, 9) if name == "gpt2" else (9, 40)] = 1000.0
    (found,) = find_super_weights(model, batches_of(ids[:1], None, 1)[0])
    handle.remove()
    assert (found.at, found.value, found.position) == (WeightAt(1, 9, 40), 1000.0, 6)
    assert found.share == pytest.approx(1, abs=0.01)
    assert found.leaving == pytest.approx(found.entering * 1000, rel=0.01)
    others = other_weights(model, [found.at], 0)
    assert others[0].layer == 1
    assert others != [found.at]
    assert others == other_weights(model, [found.at], 0) != other_weights(model, [found.at], 1)


def test_no_spike_is_no_super_weight(ids: Tensor) -> None:
    assert find_super_weights(tiny("llama_gqa"), batches_of(ids[:1], None, 1)[0]) == []
    assert find_super_weights(tiny("mixtral"), batches_of(ids[:1], None, 1)[0]) == []
