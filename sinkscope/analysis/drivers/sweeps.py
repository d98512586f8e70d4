"""The sweeps of a layer-by-layer analysis over a model's layers: which steps are taken, and in which order.

Each sweep loads one layer's weights at a time and saves the analysis between layers, so that an interrupted one goes on
where it was.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sinkscope.analysis.drivers.layer_steps import GRADIENT, STATE, LayerSteps
from sinkscope.analysis.drivers.saving import Saving
from sinkscope.loading.streamed import HEAD
from sinkscope.models.taps.attention_tap import tapped
from sinkscope.progress.display import counted


def backward_sweeps(steps: LayerSteps, saving: Saving) -> list[float]:
    """A sweep forward that keeps what goes into each layer, and one back in which statistics are taken.

    Saved steps are the output head, which is the first, and each layer's way back.

    Returns:
        Each sequence's mean loss in nats.
    """
    saved = saving.load()
    done, losses = (saved.done, saved.losses) if saved else (0, [])
    micro, last = steps.micro_batches(), len(steps.layers) - 1
    following = last - max(done - 1, 0)  # the layer whose way back comes next
    with tapped(steps.model, {}), torch.no_grad():
        steps.embed()
        for layer in counted(list(range(following if done else last + 1)), "forward: layer"):
            steps.forward(layer, micro)
            if not done:
                saving.save(0, [], {})
    if saved is not None and done:
        steps.put_back(saved, GRADIENT, following + 1)
    else:
        with steps.weights.loaded(HEAD, last):
            losses = [loss for number, batch in enumerate(micro) for loss in steps.head(number, batch)]
        done = 1
        saving.save(done, losses, steps.frontier(GRADIENT, last + 1))
    for layer in counted(list(range(last, -1, -1)), "backward: layer", last - following):
        with steps.weights.loaded(layer, layer - 1 if layer else None):
            with steps.scope as scope:
                for number, batch in enumerate(micro):
                    scope.hooks.at(batch)
                    steps.backward(layer, number)
            steps.complete(layer)
        steps.scope.recorder.settle(layer)
        steps.drop(layer)
        done += 1
        saving.save(done, losses, steps.frontier(GRADIENT, layer), last=layer == 0)
    return losses


def forward_sweep(steps: LayerSteps, saving: Saving) -> list[float]:
    """One sweep, in which statistics are taken; each layer is a saved step.

    Returns:
        Each sequence's mean loss in nats.
    """
    saved = saving.load()
    micro, last, done = steps.micro_batches(), len(steps.layers) - 1, saved.done if saved else 0
    with torch.no_grad():
        with tapped(steps.model, {}):
            steps.embed()
        steps.put_back(saved, STATE, done)
        for layer in counted(list(range(last + 1)), "layer", done):
            with steps.weights.loaded(layer, layer + 1 if layer < last else HEAD):
                with steps.scope as scope:
                    for number, batch in enumerate(micro):
                        scope.hooks.at(batch)
                        steps.kept.put((STATE, layer + 1, number), steps.run(layer, number))
                        scope.hooks.check_finite()
                steps.complete(layer)
            steps.drop(layer)
            done += 1
            saving.save(done, [], steps.frontier(STATE, done), last=layer == last)
        with steps.weights.loaded(HEAD):
            return [loss for number, batch in enumerate(micro) for loss in steps.head(number, batch)]


def completing_sweep(steps: LayerSteps, lacking: Sequence[dict[int, Tensor]]) -> None:
    """A sweep forward that takes column sums only, as far as the last layer that lacks some.

    Args:
        steps: of the micro-batches that lack some, of an analysis whose statistics are otherwise complete.
        lacking: the columns by layer of each of them, int64.
    """
    last = max(layer for columns in lacking for layer in columns)
    with torch.no_grad():
        with tapped(steps.model, {}):
            steps.embed()
        for layer in counted(list(range(last + 1)), "completing sinks: layer"):
            with steps.weights.loaded(layer, layer + 1 if layer < last else None):
                for number, columns in enumerate(lacking):
                    steps.kept.put((STATE, layer + 1, number), steps.swept(layer, number, columns.get(layer)))
            steps.drop(layer)
