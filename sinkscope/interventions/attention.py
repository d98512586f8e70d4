"""Attention edits on a whole model: keys hidden, values zeroed, heads ablated, a sliding cache.

    with sinks_hidden(model, (0,)):                      # nobody but token 0 sees token 0, rows are renormalized
        ...
    with cached(model, SlidingCache(4, 252)):            # four first tokens and the 252 most recent ones
        ...

The model's `generate` works too: its own cache keeps all keys, and the edit decides which of them a query sees. So a
sliding cache is measured here; no memory is saved. Batches with padding are refused, as their positions count from
elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.compat.attention_implementation import implementation_of, implementations_of, switch_attention_
from sinkscope.compat.read_before import read_before
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.interventions.edited_attention import WITH_EDITS, edited_fused
from sinkscope.models.families import family_of
from sinkscope.models.family import Feature
from sinkscope.models.shape import shape_of
from sinkscope.models.taps.attention_tap import TAP
from sinkscope.models.taps.edits import EDITED, INSIDE, AttentionEdit, Passing, SlidingCache, editing
from sinkscope.models.taps.redirect import check_fused, redirected
from sinkscope.vscale.attach import attention_modules


def sinks_hidden(
    model: PreTrainedModel,
    positions: Iterable[int],
    *,
    renormalized: bool = True,
    layers: Iterable[int] | None = None,
) -> AbstractContextManager[None]:
    """Takes the attention to some tokens away from all later ones.

    Args:
        model: a causal LM of a known family.
        positions: which tokens.
        renormalized: whether a row's other weights sum to 1 again; otherwise they stay as they were.
        layers: where; None is everywhere.
    """
    gone = tuple(sorted(set(positions)))
    edit = AttentionEdit(hidden=gone) if renormalized else AttentionEdit(unweighted=gone)
    return attention_edited(model, dict.fromkeys(checked_layers(model, layers), edit))


def values_zeroed(
    model: PreTrainedModel, positions: Iterable[int], *, layers: Iterable[int] | None = None
) -> AbstractContextManager[None]:
    """Sets the value vectors of some tokens to zero; attention to them stays.

    Args:
        model: a causal LM of a known family.
        positions: which tokens.
        layers: where; None is everywhere.
    """
    edit = AttentionEdit(valueless=tuple(sorted(set(positions))))
    return attention_edited(model, dict.fromkeys(checked_layers(model, layers), edit))


def heads_ablated(model: PreTrainedModel, heads: Mapping[int, Iterable[int]]) -> AbstractContextManager[None]:
    """Sets the output of some heads to zero, before the output projection.

    Args:
        model: a causal LM of a known family.
        heads: query heads by layer.
    """
    count = shape_of(family_of(model), model.config).heads
    by_layer = {layer: tuple(sorted(set(of_layer))) for layer, of_layer in heads.items()}
    wrong = [head for of_layer in by_layer.values() for head in of_layer if not 0 <= head < count]
    if wrong:
        raise RequestError(f"there is no head {wrong[0]}: the model has heads 0 to {count - 1}")
    checked_layers(model, by_layer)
    return attention_edited(model, {layer: AttentionEdit(heads=of_layer) for layer, of_layer in by_layer.items()})


def cached(model: PreTrainedModel, cache: SlidingCache) -> AbstractContextManager[None]:
    """Lets every query see no more than a sliding cache holds.

    Args:
        model: a causal LM of a known family.
        cache: what it keeps, and how positions count.

    Raises:
        RequestError: for positions that count inside the cache in a model that does not rotate by position in every
            layer, or has a window of its own that is shorter than the cache.
    """
    if cache.positions == INSIDE:
        _check_inside(model, cache)
    return attention_edited(model, dict.fromkeys(checked_layers(model, None), AttentionEdit(cache=cache)))


def checked_layers(model: PreTrainedModel, layers: Iterable[int] | None) -> list[int]:
    """Layers that a model has, ascending; all of them for None.

    Raises:
        RequestError: for one that it has not.
    """
    count = len(family_of(model).decoder_layers(model))
    if layers is None:
        return list(range(count))
    wanted = sorted(set(layers))
    wrong = [layer for layer in wanted if not 0 <= layer < count]
    if wrong:
        raise RequestError(f"`layers` names {wrong[0]}, and the model has layers 0 to {count - 1}")
    return wanted


@contextmanager
def attention_edited(model: PreTrainedModel, edits: Mapping[int, AttentionEdit]) -> Iterator[None]:
    """Puts attention edits on layers while a `with` block lasts.

    Raises:
        SinkscopeError: if the model's attention cannot be edited as it is set.
    """
    modules = attention_modules(model)
    passing = Passing()
    by_module = {modules[layer]: replace(edit, passing=passing) for layer, edit in edits.items()}
    if not by_module:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(editing(by_module))
        stack.enter_context(_followed(model, passing, by_module))
        stack.enter_context(_read_by_attention(model, modules))
        yield


@contextmanager
def _read_by_attention(model: PreTrainedModel, modules: list[nn.Module]) -> Iterator[None]:
    """Makes a model call attention that reads edits, where it does not yet."""
    family = family_of(model)
    if family.intercepted:
        check_fused(model)
        with redirected(modules, edited_fused, shape_of(family, model.config).kv_heads):
            yield
        return
    current = implementation_of(model.config)
    if current == TAP or current.startswith(EDITED):
        yield
        return
    if current not in WITH_EDITS:
        usable = ", ".join(name for name in WITH_EDITS if not name.startswith("sinkscope"))
        raise SinkscopeError(f"attention is edited under the implementations {usable}, not under {current}")
    before = implementations_of(model)
    if not switch_attention_(model, WITH_EDITS[current]):
        raise SinkscopeError(
            f"{type(model).__name__} does not use transformers' attention interface, so it cannot be edited"
        )
    try:
        yield
    finally:
        switch_attention_(model, before)


@contextmanager
def _followed(model: PreTrainedModel, passing: Passing, edits: Mapping[nn.Module, AttentionEdit]) -> Iterator[None]:
    """Notes, while entered, how far each forward pass is."""

    def begin(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        passing.past = read_before(kwargs)
        if isinstance(mask, Tensor) and mask.dim() == 2 and not bool(mask.bool().all()):
            raise RequestError(
                "positions count from a sequence's first token, and this batch is padded: use `batch_size=1`"
            )

    def note(last: int) -> Any:
        def hook(module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tables = kwargs.get("position_embeddings")
            if not (isinstance(tables, tuple) and len(tables) == 2):
                return
            cos, sin = passing.rotary[module] = tables
            row = last - passing.past
            if 0 <= row < cos.shape[1]:
                passing.capped[module] = cos[:, row : row + 1].detach(), sin[:, row : row + 1].detach()

        return hook

    handles = [family_of(model).decoder(model).register_forward_pre_hook(begin, with_kwargs=True)]
    for module, edit in edits.items():
        if edit.cache is not None and edit.cache.positions == INSIDE:
            handles.append(module.register_forward_pre_hook(note(edit.cache.size - 1), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check_inside(model: PreTrainedModel, cache: SlidingCache) -> None:
    family, config = family_of(model), model.config.get_text_config()
    way_out = "count positions as in the text (`cache_positions=original`)"
    for feature in (Feature.NOPE, Feature.LATENT, Feature.LEARNED_POSITIONS, Feature.SINKS):
        if feature in family.features:
            raise RequestError(
                f"positions cannot count inside a cache of a '{family.model_type}', which has {feature}: {way_out}"
            )
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    slides = window and (
        any("sliding" in kind for kind in kinds) if kinds else getattr(config, "use_sliding_window", 1)
    )
    if window is not None and slides and int(window) < cache.size:
        raise RequestError(
            f"a cache of {cache.size} tokens is longer than the model's own window of {window}, in which positions "
            f"count already: keep fewer, or {way_out}"
        )
