"""Taking something away from a model in memory, for one's own passes: what `ablate` measures, as `with` blocks.

    with massive(model, run):
        model.generate(...)

What to take away is read from a run of `analyze` on the same model, itself or its folder. The blocks stack, and leave
the model as it was. Gradients pass, so a Trainer works too.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from transformers import PreTrainedModel

from sinkscope.ablation.known import analysis_at, check_same_shape
from sinkscope.ablation.settings import EVERYWHERE, FIRST, ORIGINAL
from sinkscope.ablation.steps.step import Subject, untouched
from sinkscope.ablation.steps.stream import channels as channels_step
from sinkscope.ablation.steps.stream import chosen
from sinkscope.ablation.steps.stream import massive as massive_step
from sinkscope.ablation.targets import MassiveChannels, Targets, targets_of
from sinkscope.errors import RequestError
from sinkscope.interventions import attention
from sinkscope.interventions.attention import checked_layers
from sinkscope.interventions.weights import WeightAt, weights_zeroed
from sinkscope.loading.describe import describe
from sinkscope.models.taps.edits import SlidingCache
from sinkscope.results import Result
from sinkscope.tables.run_folder import Run

AnyRun = str | Path | Run | Result
Block = AbstractContextManager[None]


def massive(
    model: PreTrainedModel,
    run: AnyRun,
    *,
    to_mean: bool = False,
    where: str = FIRST,
    layers: Iterable[int] | None = None,
) -> Block:
    """Sets the massive activations of layers' outputs to zero, or to their mean.

    Args:
        model: a causal LM of a known family.
        run: an analysis of it.
        to_mean: to the mean of the run's massive entries by channel, instead of zero.
        where: `first`, at the layer where each channel's first appear, or `everywhere`.
        layers: these alone.

    Raises:
        SinkscopeError: for a run of another model, or a layer out of range.
    """
    places = _places(model, run, where, layers)
    subject = Subject(model, Targets(), tokens=0)
    return massive_step(subject, "", "", places, to_mean=to_mean).own.enter() if places else untouched()


def channels(model: PreTrainedModel, run: AnyRun, *, where: str = FIRST, layers: Iterable[int] | None = None) -> Block:
    """Sets the massive channels of layers' outputs to zero for all tokens; arguments as of `massive`."""
    places = _places(model, run, where, layers)
    return channels_step(Subject(model, Targets(), tokens=0), "", "", places).own.enter() if places else untouched()


def weights(model: PreTrainedModel, places: Iterable[tuple[int, int, int]]) -> Block:
    """Sets single weights of down projections to zero.

    Args:
        model: a causal LM of a known family.
        places: layer, row (output channel) and column (input channel) of each, as the table `super_weights` lists them.
    """
    return weights_zeroed(model, [WeightAt(*place) for place in places])


def sink_attention(
    model: PreTrainedModel,
    run: AnyRun | None = None,
    *,
    positions: Iterable[int] | None = None,
    renormalize: bool = True,
    layers: Iterable[int] | None = None,
) -> Block:
    """Takes the attention to the sinks away from all later tokens.

    Args:
        model: a causal LM of a known family.
        run: an analysis of it, whose sinks are taken; None needs `positions`.
        positions: these tokens instead.
        renormalize: whether the rest of a row sums to 1 again.
        layers: these alone.
    """
    sinks = _sinks(model, run, positions)
    return attention.sinks_hidden(model, sinks, renormalized=renormalize, layers=layers)


def sink_value(
    model: PreTrainedModel,
    run: AnyRun | None = None,
    *,
    positions: Iterable[int] | None = None,
    layers: Iterable[int] | None = None,
) -> Block:
    """Sets the sinks' values to zero, while attention to them stays; arguments as of `sink_attention`."""
    return attention.values_zeroed(model, _sinks(model, run, positions), layers=layers)


def sink_heads(model: PreTrainedModel, run: AnyRun, *, layers: Iterable[int] | None = None) -> Block:
    """Sets the output of the heads to zero that an analysis found to be sinks; arguments as of `sink_attention`."""
    wanted = checked_layers(model, layers)
    heads = _targets(model, run).heads
    return attention.heads_ablated(model, {layer: found for layer, found in heads.items() if layer in wanted})


def cache(model: PreTrainedModel, first: int, recent: int, *, positions: str = ORIGINAL) -> Block:
    """Lets every token see the first tokens and the most recent ones alone, its own among these.

    Args:
        model: a causal LM of a known family.
        first: N, tokens at the start.
        recent: K, most recent tokens.
        positions: `original`, as in the text, or `cache`, from the start of the cache, as StreamingLLM counts them.
    """
    return attention.cached(model, SlidingCache(first, recent, positions))


def _targets(model: PreTrainedModel, run: AnyRun) -> Targets:
    analysis = analysis_at(run)
    check_same_shape(analysis, describe(model))
    return targets_of(analysis)


def _places(
    model: PreTrainedModel, run: AnyRun, where: str, layers: Iterable[int] | None
) -> dict[int, MassiveChannels]:
    if where not in (FIRST, EVERYWHERE):
        raise RequestError(f"`where` is {FIRST} or {EVERYWHERE}, not '{where}'")
    targets = _targets(model, run)
    wanted = None if layers is None else checked_layers(model, layers)
    return chosen(targets.first if where == FIRST else targets.massive, wanted)


def _sinks(model: PreTrainedModel, run: AnyRun | None, positions: Iterable[int] | None) -> tuple[int, ...]:
    if positions is not None:
        return tuple(positions)
    if run is None:
        raise RequestError("name a run of analyze, whose sinks are meant, or their `positions`")
    return _targets(model, run).sinks
