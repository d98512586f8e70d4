"""A model cut down to its first decoder layers for a while: what a pass costs is found out on a part of it.

Layers of one kind cost the same, so that a pass through few of them tells what all of them take. A model may have
layers of several kinds (sliding and full attention, dense and experts); the first layers that hold one of each are its
sample.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

from sinkscope.models.families import family_of

_MOST = 8  # layers in a sample


def sample_size(model: PreTrainedModel) -> int:
    """How many of the first layers hold one of each kind, `_MOST` at most."""
    layers = family_of(model).decoder_layers(model)
    kinds = [_kind(layer, number, model) for number, layer in enumerate(layers)]
    last = max(kinds.index(kind) for kind in kinds)
    return min(last + 1, _MOST, len(layers))


@contextmanager
def first_layers(model: PreTrainedModel, count: int) -> Iterator[None]:
    """While entered, a model has its first `count` decoder layers alone."""
    path = family_of(model).layers
    owner, _, name = path.rpartition(".")
    holder, layers = model.get_submodule(owner), model.get_submodule(path)
    holder.add_module(name, nn.ModuleList(list(layers.children())[:count]))  # in the place of the one of this name
    try:
        yield
    finally:
        holder.add_module(name, layers)


def _kind(layer: nn.Module, number: int, model: PreTrainedModel) -> tuple[object, ...]:
    types = getattr(model.config.get_text_config(), "layer_types", None) or ()
    shapes = tuple((name, tuple(parameter.shape)) for name, parameter in layer.named_parameters())
    return (types[number] if number < len(types) else None, shapes)
