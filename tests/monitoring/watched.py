"""A tiny training run that draws random numbers at every step, so that a disturbed generator would show."""

from collections.abc import Callable, Iterator

import tiny
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

STEPS = 7
IDS = torch.randint(2, 250, (3, 40), generator=torch.Generator().manual_seed(3))


def model(name: str = "llama_gqa") -> PreTrainedModel:
    """In training mode; attention dropout draws from torch's generator."""
    return tiny.build(name, attention_dropout=0.2, initializer_range=0.2).train()


def batches(steps: int = STEPS) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        yield torch.randint(2, 250, (2, 24), generator=generator)


def adamw(trained: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], lr=1e-2)


def train(
    trained: nn.Module, optimizer: torch.optim.Optimizer, after: Callable[[int], object] = lambda _: None
) -> None:
    """Trains in place; `after` is called with the number of every step done, gradients still in place."""
    torch.manual_seed(11)
    for step, ids in enumerate(batches(), start=1):
        trained(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        after(step)
        optimizer.zero_grad()


def weights(trained: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in trained.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
