"""Hooks on the routers and experts of a mixture-of-experts model, gone when the `with` block ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.capture.micro_batch import MicroBatch
from sinkscope.capture.recorder import Recorder
from sinkscope.capture.statistics.expert_statistics import Places, places
from sinkscope.models.families import Family
from sinkscope.models.routing import ExpertPart, Experts, Routing
from sinkscope.models.taps.experts_tap import Observer, find, tapped_experts


@contextmanager
def recording_experts(
    model: PreTrainedModel, family: Family, recorder: Recorder, current: Callable[[], MicroBatch]
) -> Iterator[None]:
    """Feeds `recorder` with routing and experts; does nothing for a dense family.

    Args:
        model: the model.
        family: its row.
        recorder: what is fed.
        current: the micro-batch that is running.
    """
    if family.experts is None:
        yield
        return
    hooks = _ExpertHooks(family.experts, recorder, current)
    try:
        for layer, block in enumerate(family.decoder_layers(model)):
            hooks.attach(layer, block)
        with tapped_experts(hooks.observers):
            yield
    finally:
        for handle in hooks.handles:
            handle.remove()


def has_experts(family: Family, block: nn.Module) -> bool:
    """Whether a decoder layer's MLP is a mixture of experts, which has no down projection of its own."""
    return family.experts is not None and find(block, family.experts.module) is not None


class _ExpertHooks:
    def __init__(self, where: Experts, recorder: Recorder, current: Callable[[], MicroBatch]) -> None:
        self.where = where
        self.recorder = recorder
        self.current = current
        self.handles: list[Any] = []
        self.observers: dict[nn.Module, Observer] = {}

    def attach(self, layer: int, block: nn.Module) -> None:
        experts = find(block, self.where.module)
        if experts is None:
            return
        count = int(cast("Any", experts).num_experts)
        latest: list[tuple[Routing, Places]] = []

        @torch.no_grad()
        def routed(_module: nn.Module, _args: Any, output: Any) -> None:
            routing = Routing(*(x.detach() for x in self.where.read(output)))
            where = places(self.current(), len(routing.chosen), routing.chosen.device)
            latest[:] = [(routing, where)]
            self.recorder.routed(layer, where, routing, self.where.probabilities(routing.logits))

        def observe(part: ExpertPart) -> None:
            self.recorder.expert(layer, latest[0][1], part, count)

        @torch.no_grad()
        def rerun(module: nn.Module, args: tuple[Tensor, ...], _output: Any) -> None:
            assert self.where.rerun is not None  # noqa: S101  (narrows the type)
            for part in self.where.rerun(module, args[0].detach(), latest[0][0]):
                observe(part)

        self.handles.append(block.get_submodule(self.where.router).register_forward_hook(routed))
        if self.where.rerun is None:
            self.observers[experts] = observe
        else:
            self.handles.append(experts.register_forward_hook(rerun))
        shared = find(block, self.where.shared)
        if shared is not None:
            self.handles.append(shared.register_forward_hook(self._shared(layer)))

    def _shared(self, layer: int) -> Any:
        def hook(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            x, y = args[0].detach().flatten(0, -2), output.detach().flatten(0, -2)
            part = ExpertPart(0, torch.arange(len(x), device=x.device), x, y)
            self.recorder.shared_expert(layer, places(self.current(), len(x), x.device), part)

        return hook
