"""The same seed gives the same weights, also where a compiled step runs on several threads."""

from contextlib import ExitStack
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from sinkscope.training.loop import compiled_loss
from sinkscope.training.repeatable import repeatable

THREADS, STEPS = 2, 4


def flags() -> tuple[bool, bool, bool]:
    memory: Any = torch.utils.deterministic
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        bool(memory.fill_uninitialized_memory),
    )


def test_what_was_set_is_put_back() -> None:
    before = flags()
    with repeatable(torch.device("cpu")):
        assert flags() == (True, True, False)
    assert flags() == before
    stack = ExitStack()
    stack.enter_context(repeatable(torch.device("cpu")))
    stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert flags() == before
    with repeatable(torch.device("cuda")):
        assert flags() == before


def trained() -> list[Tensor]:
    """A few compiled steps in which many tokens share a few embeddings."""
    model = tiny.build("llama_gqa", hidden_size=64, num_hidden_layers=1, max_position_embeddings=512).train()
    ids = torch.randint(2, 8, (8, 512), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss_of = compiled_loss(model, True)
    with repeatable(torch.device("cpu")):
        for _ in range(STEPS):
            loss_of(ids).backward()
            optimizer.step()
            optimizer.zero_grad()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.slow
def test_two_compiled_trainings_end_in_the_same_weights() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        first, second = trained(), trained()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
