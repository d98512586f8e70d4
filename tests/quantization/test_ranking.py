"""The ranking is what whole passes give, module by module, on structures of every kind."""

import families
import pytest
import torch
from transformers import PreTrainedModel

from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe
from sinkscope.passes import from_layer
from sinkscope.passes.batches import batches_of
from sinkscope.quantization import calibrate, parse_probe, probed
from sinkscope.quantization.ranking import losses, mean_loss, rank

IDS = torch.arange(2, 50).view(3, 16)
BATCHES = batches_of(IDS, None, 2)
KINDS = ["llama_gqa", "mistral_window", "gemma2", "gemma3_text", "olmo2", "phi", "gpt_neox", "exaone4", "opt"]
WHOLE = [*KINDS, "falcon_two_norms", "gpt2", "mixtral", "gpt_oss"]  # what probes refuse is entered too


def calibrated_on(model: PreTrainedModel, name: str) -> CalibratedProbe:
    probe = parse_probe(name)
    assert probe is not None
    return CalibratedProbe(name, probe, probe.places(model), calibrate(model, linears(model), BATCHES))


def slow(model: PreTrainedModel, calibrated: CalibratedProbe) -> dict[str, tuple[float, float]]:
    """By module, the loss with it alone rounded, and what sparing it wins back: whole passes, nothing kept."""

    def loss() -> float:
        return mean_loss(losses(model, BATCHES))

    exact, found = loss(), {}
    with calibrated.entered(model):
        whole = loss()
    for place in calibrated.places:
        with probed(model, calibrated.probe, calibrated.calibration, [place]):
            alone = loss() - exact
        rest = [other for other in calibrated.places if other is not place]
        with probed(model, calibrated.probe, calibrated.calibration, rest):
            found[place.name] = (alone, whole - loss())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_passes_from_the_changed_layer_give_what_whole_ones_give(kind: str) -> None:
    model = families.tiny(kind)
    calibrated = calibrated_on(model, "w4a4-static")
    before = losses(model, BATCHES)
    table = rank(model, "tiny", calibrated, calibrated.places, BATCHES).set_index("module")
    for name, (alone, recovered) in slow(model, calibrated).items():
        assert table.loc[name, "delta_alone"] == pytest.approx(alone, abs=1e-6)
        assert table.loc[name, "recovered"] == pytest.approx(recovered, abs=1e-6)
    assert table["delta_alone"].abs().max() > 1e-4
    assert losses(model, BATCHES).equals(before)


@pytest.mark.parametrize("kind", WHOLE)
def test_no_layer_before_the_change_is_run(kind: str) -> None:
    model = families.tiny(kind)
    layers = from_layer.family_of(model).decoder_layers(model)
    kept = from_layer.kept_states(model, BATCHES, range(len(layers)))
    assert sorted(kept.states) == list(range(1, len(layers)))
    run: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: run.append(name))
        for number, layer in enumerate(layers)
        for name, module in layer.named_modules(prefix=str(number))
        if "." in name
    ]
    assert kept.losses_from(model, 2) == kept.losses
    assert {name.split(".")[0] for name in run} == {str(number) for number in range(2, len(layers))}
    for handle in handles:
        handle.remove()


def test_few_states_are_kept_within_a_small_limit() -> None:
    model = families.tiny("llama_gqa")
    each = IDS.numel() * model.config.hidden_size * 4
    for limit, layers in ((0, []), (each, [1]), (2 * each, [1, 2])):
        kept = from_layer.kept_states(model, BATCHES, range(3), limit)
        assert sorted(kept.states) == layers
        assert kept.start(0) == 0
        assert kept.start(2) == max(layers, default=0)
        assert kept.losses_from(model, 2) == kept.losses


class _Remembers(torch.nn.Module):
    """A layer that reads what the first one computed, by a way round the hidden states."""

    def __init__(self, layer: torch.nn.Module, first: torch.nn.Module) -> None:
        super().__init__()
        self.layer, self.first = layer, [first]

    def forward(self, hidden: torch.Tensor, **kwargs: object) -> torch.Tensor:
        result: torch.Tensor = self.layer(hidden, **kwargs) + self.first[0].mlp.seen
        return result


def test_a_layer_that_reads_more_than_hidden_states_goes_the_whole_way() -> None:
    model = families.tiny("llama_gqa")
    layers = model.model.layers
    first = layers[0]
    first.mlp.register_forward_hook(lambda module, _, output: setattr(module, "seen", output.detach()))
    layers[2] = _Remembers(layers[2], first)
    kept = from_layer.kept_states(model, BATCHES, [1, 2])
    assert kept.states == {}
    assert kept.losses_from(model, 2) == kept.losses
