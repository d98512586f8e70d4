"""What a head's learned sink takes of its attention, where an architecture has one (gpt-oss).

Such a head has a logit of its own in the softmax of every row. Its weight belongs to no token, so the weights of a row
sum to less than 1; the rest is the learned sink's mass, exp(sink - lse_t) for query t.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sinkscope.capture.statistics.stack import Stack
from sinkscope.capture.statistics.statistic import Statistic
from sinkscope.models.taps.attention_tap import AttentionCall


@dataclass
class LearnedSinks(Statistic):
    """The learned sinks of one layer.

    Attributes:
        logits: one per query head [H].
        mass: the sink's weight, mean over all queries of each sequence [N, H].
        early: the same over the queries that alpha_0 averages over, 0..T_eps-1 [N, H].
    """

    logits: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    mass: Stack = field(default_factory=Stack)
    early: Stack = field(default_factory=Stack)

    def update(self, call: AttentionCall, window: int) -> None:
        """Adds a call without padding; `window` is T_eps."""
        assert call.sink_logits is not None  # noqa: S101  (narrows the type)
        self.logits = call.sink_logits.detach().float()
        weight = (self.logits[:, None] - call.lse).exp_()
        self.mass.append(weight.mean(-1))
        self.early.append(weight[..., :window].mean(-1))

    def merge(self, other: "LearnedSinks") -> None:
        """Adds the other's sequences."""
        self.mass.merge(other.mass)
        self.early.merge(other.early)
