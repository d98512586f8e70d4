"""Steps on the text: another token stands first, or <bos> does.

Windows that start with <bos> lose it, so that the first token of the text stands first. Windows without one lose their
first token; and get a <bos>, where the tokenizer has one. Losses are compared on tokens whose predecessor is the same.
"""

import torch
from torch import Tensor

from sinkscope.ablation.steps.step import Reading, Step, Subject, Variation


def first_token(subject: Subject, what: str) -> list[Step]:
    """All of them; the controls lose another token, or get one of the text in front."""
    dropped = Step(
        what,
        "<bos> removed" if subject.bos is not None else "text shifted by one",
        "tokens",
        1.0,
        Variation(read=lambda ids: without(ids, 0)),
        lambda seed: Variation(read=lambda ids: without(ids, _drawn(1, ids.shape[1], seed))),
        asks=False,
    )
    if subject.bos is not None or subject.bos_token is None:
        return [dropped]
    bos = subject.bos_token
    added = Step(
        what,
        "<bos> added",
        "tokens",
        1.0,
        Variation(read=lambda ids: with_first(ids, torch.full((len(ids),), bos))),
        lambda seed: Variation(read=lambda ids: with_first(ids, ids[:, _drawn(1, ids.shape[1], seed)])),
        asks=False,
    )
    return [dropped, added]


def without(input_ids: Tensor, position: int) -> Reading:
    """Windows [N, T] without the token at a position."""
    left = torch.tensor([place for place in range(input_ids.shape[1]) if place != position])
    return Reading(input_ids[:, left], left)


def with_first(input_ids: Tensor, tokens: Tensor) -> Reading:
    """Windows [N, T] with a token [N] put before each; the last token makes room, so that no window grows."""
    kept = input_ids[:, :-1]
    origin = torch.cat([torch.tensor([-1]), torch.arange(kept.shape[1])])
    return Reading(torch.cat([tokens[:, None].to(kept), kept], dim=1), origin)


def _drawn(low: int, high: int, seed: int) -> int:
    return int(torch.randint(low, high, (), generator=torch.Generator().manual_seed(seed)))
