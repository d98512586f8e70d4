"""Where mixture-of-experts layers keep their parts: the vocabulary that rows of `sinkscope.models.families` use.

Shapes: S tokens (of all sequences of a batch), E experts, k experts per token, m tokens of one expert, D channels, I
the intermediate size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Routing(NamedTuple):
    """What a router decided.

    Attributes:
        logits: scores of all experts before their normalization [S, E].
        weights: router weights of the chosen experts [S, k].
        chosen: the chosen experts, int64 [S, k].
    """

    logits: "Tensor"
    weights: "Tensor"
    chosen: "Tensor"


class ExpertPart(NamedTuple):
    """One expert's part of a forward pass, without its graph.

    Attributes:
        expert: its number.
        tokens: which tokens it was given, int64 [m].
        down_in: the input of its down projection [m, I].
        output: the output of its down projection, before the router weight [m, D].
    """

    expert: int
    tokens: "Tensor"
    down_in: "Tensor"
    output: "Tensor"


def top_k(output: Any) -> Routing:
    """A router that returns logits, weights and chosen experts, as transformers' top-k routers do."""
    logits, weights, chosen = output
    return Routing(logits, weights, chosen)


def scores_of_all(output: Any) -> Routing:
    """A router that returns the weight of every expert, 0 for those not chosen, and the logits (Llama 4)."""
    scores, logits = output
    chosen = int((scores > 0).sum(-1).max())
    weights, experts = scores.topk(chosen, dim=-1)
    return Routing(logits, weights, experts)


def weighted_before(module: Any, given: "Tensor", routing: Routing) -> Iterator[ExpertPart]:
    """Parts of experts that get each token times its router weight, all experts in one batched product (Llama 4).

    Args:
        module: holds `gate_up_proj` [E, D, 2I], `down_proj` [E, I, D] and `act_fn`.
        given: input of the module [E * S, D], expert after expert.
        routing: what the router decided for the S tokens.
    """
    of_expert = given.view(module.num_experts, -1, given.shape[-1])
    for expert in routing.chosen.unique().tolist():
        tokens = (routing.chosen == expert).any(-1).nonzero().flatten()
        gate, up = (of_expert[expert, tokens] @ module.gate_up_proj[expert]).chunk(2, dim=-1)
        down_in = up * module.act_fn(gate)
        yield ExpertPart(expert, tokens, down_in, down_in @ module.down_proj[expert])


@dataclass(frozen=True)
class Experts:
    """Where a family's mixture-of-experts layers keep their parts, as paths inside a decoder layer.

    A layer that has no module at `module` is a dense one.

    Attributes:
        module: the routed experts, fused into one module.
        router: the router; `read` understands its output.
        shared: the down projection of the shared experts, which see every token; None without such.
        scoring: how router logits become scores that are compared: softmax or sigmoid.
        read: turns a router's output into a `Routing`.
        rerun: for experts outside transformers' experts interface: yields each expert's part from the module, its input
            and the routing, computed once more without a graph. None where the interface is used.
    """

    module: str = "mlp.experts"
    router: str = "mlp.gate"
    shared: str | None = None
    scoring: str = "softmax"
    read: Callable[[Any], Routing] = top_k
    rerun: "Callable[[Any, Tensor, Routing], Iterator[ExpertPart]] | None" = None

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Scores of all experts, normalized to sum to 1, float32 [S, E]."""
        logits = logits.float()
        if self.scoring == "softmax":
            return logits.softmax(-1)
        scores = logits.sigmoid()
        return scores / scores.sum(-1, keepdim=True)
