"""Where a model in memory is not what its files hold, and whether that is right.

A tensor that is left out, drawn at random or cut changes every number and shows in none. So what is loaded is what is
stored, or the model is refused with the names. Some tensors are of no use by declaration (`KNOWN`): buffers that are
computed anew, and the layers by which a model predicts further tokens while it trains. A user may allow the rest.
Either way run.json lists what deviates.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sinkscope.errors import SinkscopeError
from sinkscope.loading.model_folder import CONFIG, listed

UNUSED, FRESH, RESHAPED, HEAD, ADAPTER = "unused", "fresh", "reshaped", "head", "adapter"
DEQUANTIZED = "dequantized"
_ALLOW = "`allow_deviations`"


@dataclass(frozen=True)
class Deviation:
    """One way in which a loaded model is not what its files hold.

    Attributes:
        kind: `unused`, `fresh` (drawn at random), `reshaped` (stored in another shape, drawn at random), `head` (config
            says that it is the embedding, and it is not), `adapter` (left out) or `dequantized`.
        why: in words.
        tensors: their names.
        allowed: whether a user had to allow it.
    """

    kind: str
    why: str
    tensors: tuple[str, ...]
    allowed: bool

    def in_words(self) -> str:
        """As a line of progress says it."""
        count = f"{len(self.tensors)} weight(s), there {listed(sorted(self.tensors))}: " if self.tensors else ""
        return f"{count}{self.why}"

    def as_json(self) -> dict[str, Any]:
        """As run.json has it; of more than a hundred names, numbers between dots become `*`."""
        names = sorted(self.tensors)
        if len(names) > 100:
            names = sorted({re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names})
        return {
            "kind": self.kind, "why": self.why, "count": len(self.tensors), "tensors": names, "allowed": self.allowed,
        }  # fmt: skip


@dataclass(frozen=True)
class Known:
    """Stored tensors that are rightly left out.

    Attributes:
        why: what they are.
        pattern: of their names.
        families: the model types that it holds for; empty for all.
    """

    why: str
    pattern: re.Pattern[str]
    families: frozenset[str] = frozenset()


KNOWN = (
    Known("rotary frequencies, computed anew from config.json", re.compile(r"(^|\.)rotary_emb\.inv_freq$")),
    Known("numbers of positions, counted anew", re.compile(r"(^|\.)position_ids$")),
    Known("causal masks, made anew", re.compile(r"(^|\.)attn\.(masked_)?bias$"), frozenset({"gpt2"})),
    Known("causal masks, made anew", re.compile(r"(^|\.)attention\.(masked_)?bias$"), frozenset({"gpt_neox"})),
)
FURTHER_TOKENS = "layers behind the last one, which predict further tokens (MTP) and take no part in a forward pass"
_FURTHER = re.compile(r"\.(eh_proj|enorm|hnorm|shared_head)\.")  # only such a layer has these
_NUMBERS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_layers")


def unused(
    names: Iterable[str], config: Mapping[str, Any], layers: str, forgiven: Iterable[str] = ()
) -> list[Deviation]:
    """Sorts stored tensors that have no place in a model: a deviation per reason.

    Args:
        names: of the tensors.
        config: the parsed config.json.
        layers: name of the list of decoder layers, as `model.layers`.
        forgiven: patterns of what the model's class leaves out; they count for layers behind the last one.

    Returns:
        Deviations whose `allowed` says that no declaration covers them.
    """
    names = sorted(names)
    further = _further_layers(names, config, layers, list(forgiven))
    reasons: dict[str, list[str]] = {}
    for name in names:
        known = next((k for k in KNOWN if k.pattern.search(name) and _holds(k, config)), None)
        why = known.why if known is not None else FURTHER_TOKENS if name in further else ""
        reasons.setdefault(why, []).append(name)
    return [
        Deviation(UNUSED, why or "stored tensors without a place in the model", tuple(found), allowed=not why)
        for why, found in reasons.items()
    ]


def refuse(name: str, deviations: Iterable[Deviation], *, allow: bool) -> None:
    """Refuses the deviations that a user would have to allow.

    Args:
        name: the model as the user named it.
        deviations: what was found.
        allow: whether the user does.

    Raises:
        SinkscopeError: naming the first tensors.
    """
    for deviation in deviations:
        if deviation.allowed and not allow:
            raise SinkscopeError(f"{name}: {_said(deviation)}")


def _said(deviation: Deviation) -> str:
    names = sorted(deviation.tensors)
    if not names:
        return f"{deviation.why} ({_ALLOW} leaves them out)"
    count = f"{len(names)} weight(s)"
    if deviation.kind == FRESH:
        return (
            f"{count} that {CONFIG} asks for are missing, there {listed(names)}: copy or download the files again "
            f"({_ALLOW} draws them at random)"
        )
    if deviation.kind == RESHAPED:
        return f"{count} {deviation.why}: correct {CONFIG} ({_ALLOW} draws them at random)"
    scales = all(re.search(r"_scale(_inv|_2)?$|\.(scales?|qzeros|g_idx)$", name) for name in names)
    hint = ", scales of quantized weights that would be read without them" if scales else ""
    return (
        f"{len(names)} stored weight(s) have no place in the model, there {listed(names)}{hint}: {CONFIG} is of "
        f"another model, or transformers of another release ({_ALLOW} leaves them out)"
    )


def _holds(known: Known, config: Mapping[str, Any]) -> bool:
    return not known.families or config.get("model_type") in known.families


def _further_layers(names: list[str], config: Mapping[str, Any], layers: str, forgiven: list[str]) -> set[str]:
    """Those of the tensors that lie in layers behind the last one, by which further tokens are predicted."""
    count = _count(config, ("num_hidden_layers",))
    if count is None:
        return set()
    declared = _count(config, _NUMBERS) or 0
    behind: dict[int, list[str]] = {}
    for name in names:
        found = re.match(rf"{re.escape(layers)}\.(\d+)\.", name)
        if found is not None and int(found[1]) >= count:
            behind.setdefault(int(found[1]), []).append(name)
    announced = len(behind) <= declared  # more than config.json speaks of: these are layers that it lost
    return {
        name
        for layer, held in behind.items()
        if (announced and layer < count + declared)
        or any(_FURTHER.search(name) for name in held)
        or all(any(re.search(pattern, name) for pattern in forgiven) for name in held)
        for name in held
    }


def _count(config: Mapping[str, Any], keys: Iterable[str]) -> int | None:
    """The first of some keys that holds a number, in the part that describes the text model where there is one."""
    text = config.get("text_config")
    part = text if isinstance(text, Mapping) else config
    return next((part[key] for key in keys if isinstance(part.get(key), int)), None)
