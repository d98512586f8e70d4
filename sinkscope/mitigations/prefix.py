"""`prefix`: the tokens that become sinks stand before every window, computed once and in full precision.

After PrefixQuant (arXiv:2410.05265) and CushionCache (arXiv:2406.12016). Massive activations live at few tokens: the
first one, whichever it is, and some others. Where those tokens stand in a fixed prefix whose keys and values are a
past cache, no rounded module ever reads them, and no static scale has to cover them.

What stands there is found on calibration text. First comes the token that every window begins with, where that is
<bos>. Else it is that one of <bos>, <eos> and the most frequent token under which the model predicts calibration text
best while a static scale of 8 bits rounds what its modules read: a <bos> that a model never saw in training would
harm more than it repairs, and a common token is a first token over again where a window begins with it too. Then come
the tokens that are sinks further on in a window: as many of the most frequent ones as a window has on average. A
position counts as such where at least a quarter as many heads have a sink as at position 0.

Every loss is taken over the same targets as without the prefix: the tokens of a window but its first. Where windows
begin with <bos> themselves, theirs is the prefix's, and with <bos> alone in the prefix the model computes what it did
before. Where they do not, a window has the prefix as context that it lacked; what that changes before any rounding is
measured, as `none` under `prefix`. Hooks on the decoder do all this, and are taken off again.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, cast

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from sinkscope.analysis.measure import measure
from sinkscope.capture.settings import Settings
from sinkscope.compat.read_before import KEYWORDS, keyword_of
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.methods.calibration import calibrate
from sinkscope.methods.linear_modules import linears
from sinkscope.methods.probes import CalibratedProbe, Probe, parse_probe
from sinkscope.mitigations.mitigation import Kind, Mitigation, Subject, Variant
from sinkscope.mitigations.structure import refusal
from sinkscope.models.families import family_of
from sinkscope.models.family import Feature
from sinkscope.models.shape import context_of
from sinkscope.passes.finite import or_infinite
from sinkscope.passes.losses import loss_sums
from sinkscope.passes.modes import frozen, input_device

LONGEST = 4  # tokens
_LOOKED_AT = 8  # calibration windows in which sinks are looked for
_QUARTER = 0.25
_TRIED = "a8-static"  # the probe that first tokens are tried under


@dataclass(frozen=True)
class Prefix(Mitigation):
    """The same model behind a fixed prefix."""

    order: ClassVar[int] = 1
    unsaved: ClassVar[str] = "puts tokens before all that the model reads"

    @property
    def changes_model(self) -> bool:
        """What it reads."""
        return True

    def passes(self, probes: int) -> int:  # noqa: ARG002
        """One or two as sinks are looked for, and two for each of up to three first tokens."""
        return 8

    def refuse(self, model: PreTrainedModel) -> None:
        """Refuses models whose attention does not go on from a cache of other tokens."""
        family = family_of(model)
        if Feature.LEARNED_POSITIONS in family.features:
            raise refusal(family, self.name, "its positions are learned, and a prefix moves them")
        if Feature.CHUNKED in family.features:
            raise refusal(family, self.name, "its attention is cut into chunks, and a prefix moves their borders")

    def look(self, subject: Subject) -> None:
        """Refuses documents that are kept apart, and a model without a sink at token 0."""
        self._refuse_isolated(subject)
        sinks_at_zero(subject, self.name)

    def _refuse_isolated(self, subject: Subject) -> None:
        if subject.isolated:
            raise RequestError(
                f"`mitigate={self.name}` puts one prefix before a window, and `isolate_documents` keeps its documents "
                "from reading it: leave out one of the two"
            )

    def variants(self, subject: Subject, probes: dict[str, Probe]) -> Iterator[Variant]:
        """The model with the prefix on."""
        self._refuse_isolated(subject)
        self.refuse(subject.model)
        tokens = prefix_tokens(subject, self.name)
        cut = _cuts(subject.windows, tokens)
        length, context = subject.windows.shape[1] + len(tokens) - cut, context_of(subject.model.config)
        if context is not None and length > context:
            raise RequestError(
                f"`mitigate={self.name}`: {length} tokens with the prefix exceed the model's context of {context}: use "
                "fewer `tokens`"
            )
        with prefixed(subject.model, tokens, cut=cut):
            yield Variant(subject.model, probes, named(subject, tokens))


def named(subject: Subject, tokens: list[int]) -> str:
    """The tokens of a prefix as the tokenizer spells them."""
    if subject.tokenizer is None:
        return " ".join(map(str, tokens))
    return " ".join(repr(str(subject.tokenizer.decode([token]))) for token in tokens)


def prefix_tokens(subject: Subject, name: str = "prefix") -> list[int]:
    """The tokens to stand in the prefix.

    Raises:
        SinkscopeError: if the model has no sink on the calibration text.
    """
    sinks, ids = sinks_at_zero(subject, name)
    found = others(sinks, ids)
    tried = [[first, *found] for first in _first(subject, ids)]
    return tried[0] if len(tried) == 1 else min(tried, key=lambda tokens: or_infinite(_rounded_loss(subject, tokens)))


def sinks_at_zero(subject: Subject, name: str) -> tuple[pd.DataFrame, Tensor]:
    """The table `sinks` of some calibration windows, and these.

    Raises:
        SinkscopeError: if no head has a sink at token 0.
    """
    ids = torch.cat([batch.input_ids for batch in subject.calibration])[:_LOOKED_AT]
    tokens = ids.shape[1]
    settings = Settings(
        backward=False, early=min(Settings.early, tokens - 1), positions=min(Settings.positions, tokens)
    )
    sinks = measure(subject.model, ids, settings=settings, batch_size=1, tokenizer=subject.tokenizer)["sinks"]
    if not (sinks["position"] == 0).any():
        raise SinkscopeError(
            f"`mitigate={name}`: no head of {subject.label} has a sink at token 0 of {len(ids)} calibration windows, "
            "so there is nothing to put into a prefix"
        )
    return sinks, ids


def _first(subject: Subject, ids: Tensor) -> list[int]:
    """The tokens that may stand first: the one that windows begin with by rule, or those that are tried."""
    named = [] if subject.tokenizer is None else [subject.tokenizer.bos_token_id, subject.tokenizer.eos_token_id]
    tried = [int(cast("int", token)) for token in named if token is not None]
    if tried and bool((subject.windows[:, 0] == tried[0]).all()):
        return tried[:1]
    return list(dict.fromkeys([*tried, int(ids.flatten().mode().values)]))


@torch.no_grad()
def _rounded_loss(subject: Subject, tokens: list[int]) -> float:
    """The loss on some calibration windows behind a prefix with what modules read in static 8 bits, in nats."""
    model, places = subject.model, linears(subject.model, subject.modules)
    with prefixed(model, tokens, cut=_cuts(subject.windows, tokens)), frozen(model):
        largest = calibrate(model, places, subject.some)
        with CalibratedProbe(_TRIED, cast("Probe", parse_probe(_TRIED)), places, largest).entered(model):
            return sum(float(loss_sums(model, batch).sum()) for batch in subject.some)


def _cuts(windows: Tensor, tokens: list[int]) -> bool:
    """Whether windows begin with the first token of the prefix themselves."""
    return bool((windows[:, 0] == tokens[0]).all())


def others(sinks: pd.DataFrame, ids: Tensor) -> list[int]:
    """The tokens that are sinks further on in a window, most frequent first, as many as a window has on average.

    Args:
        sinks: rows of the table `sinks`: layer, head, sequence, position.
        ids: the windows [N, T].
    """
    heads = sinks.groupby(["sequence", "position"]).size()
    at_zero = heads[heads.index.get_level_values("position") == 0].sum() / len(ids)
    later = heads[(heads.index.get_level_values("position") > 0) & (heads >= _QUARTER * at_zero)]
    places = [cast("tuple[int, int]", place) for place in later.index]
    frequent = Counter(int(ids[sequence, position]) for sequence, position in places)
    count = min(ceil(len(places) / len(ids) - 0.5), LONGEST - 1)
    return [token for token, _ in frequent.most_common(max(count, 0))]


@contextmanager
def prefixed(model: PreTrainedModel, tokens: list[int], *, cut: bool) -> Iterator[PreTrainedModel]:
    """Puts a prefix before everything that a model reads, for the length of a `with` block.

    Args:
        model: unquantized now; what is put on it inside the block does not reach the prefix.
        tokens: of the prefix.
        cut: whether windows begin with the first of them: that token is then the prefix's, and at its place stands the
            last hidden state of the prefix.
    """
    decoder = family_of(model).decoder(model)
    ids = torch.tensor([tokens], device=input_device(model))
    keyword, read_once = keyword_of(decoder), DynamicCache()
    with frozen(model), torch.no_grad():
        last = decoder(input_ids=ids, use_cache=True, **{keyword: read_once}).last_hidden_state[:, -1:]
    layers = cast("list[Any]", read_once.layers)
    held: list[tuple[Tensor, Tensor]] = [(layer.keys, layer.values) for layer in layers]

    def enter(
        _: nn.Module, arguments: tuple[Any, ...], given: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        read = arguments[0] if arguments else given["input_ids"]
        if len(arguments) > 1 or any(given.get(name) is not None for name in ("position_ids", *KEYWORDS)):
            raise SinkscopeError("a model with a prefix reads whole windows of token ids alone")
        if cut and not bool((read[:, 0] == tokens[0]).all()):
            raise SinkscopeError("a window does not begin with the first token of the prefix, as all others do")
        past = DynamicCache()
        for index, (keys, values) in enumerate(held):
            keys, values = (one.expand(len(read), -1, -1, -1).clone() for one in (keys, values))
            past.update(keys, values, index)
        rest = {name: value for name, value in given.items() if name not in KEYWORDS}
        return (), {**rest, "input_ids": read[:, 1:] if cut else read, keyword: past}

    def leave(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if cut:
            hidden = output.last_hidden_state
            output.last_hidden_state = torch.cat([last.expand(len(hidden), -1, -1), hidden], dim=1)
        return output

    handles = [decoder.register_forward_pre_hook(enter, with_kwargs=True), decoder.register_forward_hook(leave)]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _make(name: str, argument: str | None) -> Prefix:
    if argument is not None:
        raise ValueError(name)
    return Prefix(name)


KIND = Kind("prefix", "prefix", "sink tokens before the window, in full precision", _make)
