"""Tables `experts`, `router` and `routing` by explicit loops over sequences, tokens and experts, in float64.

A decoder layer's own router is asked for each token; an expert's down projection input and output are computed from its
slice of the fused weights, token by token. The layer's input is what the eager model passes to it.
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from reference.blocks import layers_of

GROUPS = ("first", "sink", "other")


@dataclass
class Token:
    """One token at one layer: where it is, the router's scores, its experts' weights, and each expert's part."""

    sequence: int
    position: int
    probabilities: list[float]
    weights: dict[int, float]
    down_in: dict[int, Tensor] = field(default_factory=dict)
    output: dict[int, Tensor] = field(default_factory=dict)
    shared_in: Tensor | None = None
    shared_out: Tensor | None = None


@torch.no_grad()
def routed_tokens(
    model: PreTrainedModel, ids: Tensor, mask: Tensor | None = None, **inputs: Any
) -> dict[int, list[Token]]:
    """Every attended token of every mixture-of-experts layer, by layer."""
    model = copy.deepcopy(model).eval()
    model.set_attn_implementation("eager")
    if model._can_set_experts_implementation():
        model.set_experts_implementation("eager")
    seen: dict[int, Tensor] = {}
    blocks = layers_of(model)
    for i, block in enumerate(blocks):
        _mlp(block).register_forward_pre_hook(lambda _, args, i=i: seen.__setitem__(i, args[0].clone()))
    model(input_ids=ids, attention_mask=mask, use_cache=False, **inputs)
    attended = torch.ones_like(ids) if mask is None else mask
    found = {}
    for i, block in enumerate(blocks):
        if not hasattr(_mlp(block), "experts"):
            continue
        found[i] = []
        for n in range(len(ids)):
            kept = attended[n].nonzero().flatten().tolist()
            for position, t in enumerate(kept):
                found[i].append(_token(_mlp(block), seen[i][n, t], n, position))
    return found


def _mlp(block: Any) -> Any:
    return block.mlp if hasattr(block, "mlp") else block.feed_forward


def _token(mlp: Any, x: Tensor, sequence: int, position: int) -> Token:
    kind = type(mlp).__name__
    router = mlp.router if hasattr(mlp, "router") else mlp.gate
    if kind == "Llama4TextMoe":
        scores, logits = router(x[None])
        chosen = logits[0].topk(mlp.top_k).indices
        probabilities = logits[0].double().sigmoid()
        weights = {int(e): float(scores[0, e]) for e in chosen}
    else:
        logits, values, chosen = router(x[None])
        sigmoid = kind in ("DeepseekV3MoE", "Glm4MoeMoE")
        probabilities = logits[0].double().sigmoid() if sigmoid else logits[0].double().exp()
        weights = {int(e): float(w) for e, w in zip(chosen[0], values[0], strict=True)}
    probabilities = probabilities / probabilities.sum()
    token = Token(sequence, position, probabilities.tolist(), weights)
    for e in weights:
        given = x * weights[e] if kind == "Llama4TextMoe" else x
        token.down_in[e], token.output[e] = _expert(mlp.experts, kind, given, e)
    shared = getattr(mlp, "shared_experts", getattr(mlp, "shared_expert", None))
    if shared is not None:
        act = shared.act_fn if hasattr(shared, "act_fn") else shared.activation_fn
        token.shared_in = (act(shared.gate_proj(x)) * shared.up_proj(x)).double()
        token.shared_out = shared.down_proj(token.shared_in.float()).double()
    return token


def _expert(experts: Any, kind: str, x: Tensor, e: int) -> tuple[Tensor, Tensor]:
    """down_in and output of expert e for one token [D]."""
    first, second = experts.gate_up_proj[e], experts.down_proj[e]
    if kind == "GptOssMLP":
        both = x @ first + experts.gate_up_proj_bias[e]
        gate, up = both[0::2].clamp(max=experts.limit), both[1::2].clamp(-experts.limit, experts.limit)
        inner = (up + 1) * gate * (1 / (1 + torch.exp(-experts.alpha * gate)))
        return inner.double(), (inner @ second + experts.down_proj_bias[e]).double()
    both = x @ first if kind == "Llama4TextMoe" else first @ x
    width = len(both) // 2
    inner = nn.functional.silu(both[:width]) * both[width:]
    return inner.double(), (inner @ second if kind == "Llama4TextMoe" else second @ inner).double()


def experts(layers: dict[int, list[Token]], count: int, massive: pd.DataFrame, token: Any) -> pd.DataFrame:
    """Table `experts`; `token(sequence, position)` is a token's text."""
    rows = []
    for i, all_tokens in layers.items():
        for e in range(count):
            given = [t for t in all_tokens if e in t.weights]
            rows.append(_row(i, "routed", e, [(t, t.down_in[e], t.output[e]) for t in given], all_tokens, token))
        if all_tokens[0].shared_in is not None:
            rows.append(_row(i, "shared", 0, [(t, t.shared_in, t.shared_out) for t in all_tokens], None, token))
    table = pd.DataFrame(rows)
    routed = table[table["kind"] == "routed"]["output_abs_max"].dropna()
    limit, tenth = routed.quantile(0.995), routed.max() / 10
    forming = _forming(massive)
    high = (table["output_abs_max"] > limit) & (table["output_abs_max"] > tenth) & (table["kind"] == "routed")
    return table.assign(is_super=high & table["layer"].isin(forming))


def _forming(massive: pd.DataFrame) -> set[int]:
    places = {
        (row["layer"], row["sequence"], row["position"], row["channel"])
        for _, row in massive.iterrows()
        if row["is_massive"] and row["site"] == "h_out"
    }
    return {layer for layer, n, s, c in places if (layer - 1, n, s, c) not in places}


def _row(
    layer: int, kind: str, e: int, given: list[tuple[Token, Any, Any]], everyone: list[Token] | None, token: Any
) -> dict[str, Any]:
    pairs = len(given) if everyone is None else sum(len(t.weights) for t in everyone)
    row = {"layer": layer, "kind": kind, "expert": e, "tokens": len(given), "share": len(given) / pairs}
    if not given:
        nothing = dict.fromkeys(["abs_max", "abs_median", "kurtosis"], math.nan)
        return {**row, **nothing, "massive": 0, "output_abs_max": math.nan,
                "output_position": -1, "output_token": "", "output_channel": -1}  # fmt: skip
    values = torch.cat([x for _, x, _ in given])
    medians, massive = [], 0
    for n in sorted({t.sequence for t, _, _ in given}):
        here = torch.cat([x for t, x, _ in given if t.sequence == n]).abs()
        medians.append(float(here.median()))
        massive += int(((here > 100) & (here >= 1000 * here.median())).sum())
    centred = values - values.mean()
    peak, channel, where = max(((float(y.abs().max()), int(y.abs().argmax()), t) for t, _, y in given),
                               key=lambda found: found[0])  # fmt: skip
    return {
        **row,
        "abs_max": float(values.abs().max()),
        "abs_median": float(torch.tensor(medians, dtype=torch.float64).median()),
        "kurtosis": float(centred.pow(4).mean() / centred.pow(2).mean() ** 2),
        "massive": massive,
        "output_abs_max": peak,
        "output_position": where.position,
        "output_token": token(where.sequence, where.position),
        "output_channel": channel,
    }


def group_of(token: Token, layer: int, sinks: pd.DataFrame) -> str:
    """The group of a token: sinks is the table of that name."""
    if token.position == 0:
        return "first"
    here = sinks[(sinks["layer"] == layer) & (sinks["sequence"] == token.sequence)]
    return "sink" if (here["position"] == token.position).any() else "other"


def router(layers: dict[int, list[Token]], count: int, sinks: pd.DataFrame) -> pd.DataFrame:
    """Table `router`."""
    rows = []
    for i, all_tokens in layers.items():
        for group in GROUPS:
            members = [t for t in all_tokens if group_of(t, i, sinks) == group]
            for e in range(count) if members else ():
                weights = [t.weights[e] for t in members if e in t.weights]
                mean = sum(weights) / len(weights) if weights else math.nan
                rows.append((i, e, group, len(weights), len(weights) / len(members), mean))
    return pd.DataFrame(rows, columns=["layer", "expert", "group", "tokens", "share", "weight"])


def routing(layers: dict[int, list[Token]], sinks: pd.DataFrame) -> pd.DataFrame:
    """Table `routing`."""
    rows = []
    for i, all_tokens in layers.items():
        members = {g: [t for t in all_tokens if group_of(t, i, sinks) == g] for g in GROUPS}
        for group in GROUPS:
            if not members[group]:
                continue
            entropies = [-sum(p * math.log(p) for p in t.probabilities if p > 0) for t in members[group]]
            overlaps = []
            for other in GROUPS:
                shares = [
                    len(set(a.weights) & set(b.weights)) / len(a.weights)
                    for a in members[group]
                    for b in members[other]
                    if a is not b
                ]
                overlaps.append(sum(shares) / len(shares) if shares else math.nan)
            rows.append((i, group, len(members[group]), sum(entropies) / len(entropies), *overlaps))
    names = ["layer", "group", "tokens", "entropy", "overlap_first", "overlap_sink", "overlap_other"]
    return pd.DataFrame(rows, columns=names)
