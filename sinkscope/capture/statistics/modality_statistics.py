"""Image tokens apart from text tokens, in models that read both.

An image token is a position whose token id is the placeholder that image embeddings are put in place of. Position 0
stands apart, whatever it is: what is measured there would otherwise hide what the rest of its kind does.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sinkscope.capture.statistics.statistic import Statistic
from sinkscope.metrics.moments import token_moments

KINDS = ("first", "text", "image")


def kinds(input_ids: Tensor, image_ids: tuple[int, ...]) -> Tensor:
    """Index into `KINDS` of each token of sequences without padding: [N, T] -> int64 [N, T]."""
    numbers = torch.isin(input_ids, torch.tensor(image_ids, device=input_ids.device)).long() + 1
    numbers[:, 0] = 0
    return numbers


@dataclass
class Modalities(Statistic):
    """Sizes of the residual stream leaving one layer, by kind of token.

    Attributes:
        tokens: int64 [3].
        norms: sum of the tokens' norms, float64 [3].
        norm_max: float32 [3].
        abs_max: float32 [3].
    """

    tokens: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.long))
    norms: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    norm_max: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float32))
    abs_max: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float32))

    def update(self, x: Tensor, kind: Tensor) -> None:
        """Adds activations x [N, T, D] of tokens of the kinds [N, T]."""
        moments = token_moments(x)
        norms, largest, kind = moments.squared_norms.sqrt().cpu(), moments.abs_max.cpu(), kind.cpu()
        for index in range(len(KINDS)):
            of_kind = kind == index
            if bool(of_kind.any()):
                self.tokens[index] += int(of_kind.sum())
                self.norms[index] += norms[of_kind].double().sum()
                self.norm_max[index] = torch.maximum(self.norm_max[index], norms[of_kind].max())
                self.abs_max[index] = torch.maximum(self.abs_max[index], largest[of_kind].max())

    def merge(self, other: "Modalities") -> None:
        """Adds the other's sequences."""
        self.tokens = self.tokens + other.tokens
        self.norms = self.norms + other.norms
        self.norm_max = torch.maximum(self.norm_max, other.norm_max)
        self.abs_max = torch.maximum(self.abs_max, other.abs_max)
