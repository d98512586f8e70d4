"""A Scope that is used otherwise than meant measures rightly or refuses, and leaves the model as it was."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import families
import pandas as pd
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.compat.attention_implementation import implementation_of
from sinkscope.errors import SinkscopeError
from sinkscope.models.families import family_of
from sinkscope.tables.run_folder import Run

SETTINGS = Settings(early=7, positions=16, sink_window=8)
IDS = torch.arange(2, 42)[None]


@pytest.fixture(params=["llama_gqa", "falcon_two_norms"])
def model(request: pytest.FixtureRequest) -> Iterator[PreTrainedModel]:
    """A model, whose hooks, attention and output must be what they were when a test is done with it."""
    model = families.tiny(request.param)
    before = _state(model)
    with torch.no_grad():
        expected = model(input_ids=IDS, use_cache=False).logits
    yield model
    assert _state(model) == before
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS, use_cache=False).logits, expected)


def _state(model: PreTrainedModel) -> Any:
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks), "_sinkscope_redirect" in module.__dict__)
        for module in model.modules()
    ]
    return implementation_of(model.config), hooks, [p.requires_grad for p in model.parameters()]


def loss_of(model: PreTrainedModel, ids: Tensor = IDS) -> Tensor:
    loss: Tensor = model(input_ids=ids, labels=ids, use_cache=False).loss
    return loss


def plain(model: PreTrainedModel, *windows: Tensor) -> Run:
    with Scope(model, SETTINGS) as scope:
        for ids in windows or (IDS,):
            loss_of(model, ids).backward()
    return scope.run()


def same(one: Run, other: Run) -> None:
    assert one.tables.keys() == other.tables.keys()
    for name, frame in one.tables.items():
        pd.testing.assert_frame_equal(frame, other[name], obj=name, rtol=1e-4, atol=1e-7)


def test_a_backward_pass_after_the_scope_is_the_same(model: PreTrainedModel) -> None:
    with Scope(model, SETTINGS) as scope:
        loss = loss_of(model)
    with pytest.raises(SinkscopeError, match="no gradient arrived"):
        scope.run()
    loss.backward()
    same(scope.run(), plain(model))


def test_two_passes_may_go_back_together(model: PreTrainedModel) -> None:
    other = IDS.flip(1)
    with Scope(model, SETTINGS) as scope:
        (loss_of(model) + loss_of(model, other)).backward()
    same(scope.run(), plain(model, IDS, other))


@pytest.mark.parametrize("first", [True, False])
def test_two_forward_passes_and_one_back(first: bool, model: PreTrainedModel) -> None:
    with Scope(model, SETTINGS) as scope:
        losses = [loss_of(model), loss_of(model, IDS.flip(1))]
        losses[0 if first else 1].backward()
    with pytest.raises(SinkscopeError, match="1 of 2 forward passes had no backward pass: call backward"):
        scope.run()
    losses[1 if first else 0].backward()
    assert scope.run().info["data"]["sequences"] == 2


def test_a_pass_without_gradients_among_others(model: PreTrainedModel) -> None:
    with Scope(model, SETTINGS) as scope:
        loss_of(model).backward()
        with torch.no_grad():
            loss_of(model)
    with pytest.raises(SinkscopeError, match="1 of 2 forward passes had no backward pass"):
        scope.run()


def test_twice_back_through_one_graph(model: PreTrainedModel) -> None:
    with Scope(model, SETTINGS) as scope:
        loss = loss_of(model)
        loss.backward(retain_graph=True)
        with pytest.raises(SinkscopeError, match="a second backward pass through one forward pass"):
            loss.backward()
    same(scope.run(), plain(model))


def test_scopes_are_not_open_together(model: PreTrainedModel) -> None:
    first, second = Scope(model, SETTINGS), Scope(model, SETTINGS)
    first.__enter__()
    with pytest.raises(SinkscopeError, match="the model is being measured already"):
        second.__enter__()
    loss_of(model).backward()
    first.__exit__(None, None, None)
    same(first.run(), plain(model))
    with second:  # and now it may
        loss_of(model).backward()
    same(second.run(), first.run())


def test_models_of_their_own_are_measured_together_and_left_in_any_order(model: PreTrainedModel) -> None:
    other = families.tiny("qwen3")
    first, second = Scope(model, SETTINGS), Scope(other, SETTINGS)
    first.__enter__()
    second.__enter__()
    loss_of(model).backward()
    loss_of(other).backward()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    same(first.run(), plain(model))
    same(second.run(), plain(other))
    assert implementation_of(other.config) == "sdpa"


def test_threads_are_measured_one_after_another_or_refused(model: PreTrainedModel) -> None:
    refused: list[str] = []
    inside, over = threading.Event(), threading.Event()

    def hold(*_: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            over.wait(60)

    def call() -> None:
        try:
            loss_of(model).backward()
        except SinkscopeError as error:
            refused.append(str(error))

    with Scope(model, SETTINGS) as scope:
        handle = model.get_input_embeddings().register_forward_hook(hold)
        slow = threading.Thread(target=call)
        slow.start()
        assert inside.wait(60)
        for _ in range(2):
            with pytest.raises(SinkscopeError, match="called by two threads at once"):
                loss_of(model)
        over.set()
        slow.join()
        handle.remove()
        later = threading.Thread(target=call)
        later.start()
        later.join()
    assert not refused
    same(scope.run(), plain(model, IDS, IDS))


def test_a_pass_that_fails_does_not_lock_the_next_one_out(model: PreTrainedModel) -> None:
    class StopError(Exception):
        pass

    def stop(*_: Any) -> None:
        raise StopError

    with Scope(model, SETTINGS) as scope:
        handle = model.get_input_embeddings().register_forward_hook(stop)
        with pytest.raises(StopError):
            loss_of(model)
        handle.remove()
        loss_of(model).backward()
    same(scope.run(), plain(model))


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["layer", "head"])
def test_a_pass_that_failed_half_way_is_in_no_run(
    where: str, error: type[BaseException], backward: bool, model: PreTrainedModel
) -> None:
    def stop(*_: Any) -> None:
        raise error

    failing = family_of(model).decoder_layers(model)[1] if where == "layer" else model.get_output_embeddings()
    with Scope(model, replace(SETTINGS, backward=backward)) as scope:
        loss = loss_of(model)
        if backward:
            loss.backward()
        handle = failing.register_forward_pre_hook(stop)
        with pytest.raises(error):
            loss_of(model, IDS.flip(1))
        handle.remove()
        with pytest.raises(SinkscopeError, match="a forward pass inside the Scope ended with an exception"):
            scope.run()
        loss_of(model).backward()
    with pytest.raises(SinkscopeError, match="a forward pass inside the Scope ended with an exception"):
        scope.run()


def test_a_pass_of_the_decoder_alone_that_is_refused_is_in_no_run(model: PreTrainedModel) -> None:
    def broken(*given: Any) -> Any:
        return torch.full_like(given[2], torch.nan)

    with Scope(model, replace(SETTINGS, backward=False)) as scope:
        loss_of(model)
        handle = family_of(model).decoder_layers(model)[-1].mlp.register_forward_hook(broken)  # type: ignore[union-attr]
        with pytest.raises(SinkscopeError, match="non-finite activations"):
            family_of(model).decoder(model)(input_ids=IDS, use_cache=False)
        handle.remove()
    with pytest.raises(SinkscopeError, match="a forward pass inside the Scope ended with an exception"):
        scope.run()


def test_a_pass_that_is_refused_before_it_begins_leaves_nothing(model: PreTrainedModel) -> None:
    with Scope(model, SETTINGS) as scope:
        loss_of(model).backward()
        with pytest.raises(SinkscopeError, match="one unbroken stretch"):
            model(input_ids=IDS, attention_mask=torch.zeros_like(IDS), use_cache=False)
        loss_of(model).backward()
    same(scope.run(), plain(model, IDS, IDS))


@pytest.mark.parametrize("frozen", [True, False])
def test_embeddings_that_need_no_gradient(frozen: bool) -> None:
    model = families.tiny("llama_gqa").requires_grad_(not frozen)
    embedded = model.get_input_embeddings()(IDS).detach()
    with Scope(model, SETTINGS) as scope:
        model(inputs_embeds=embedded, labels=IDS, use_cache=False).loss.backward()
    assert not embedded.requires_grad
    assert embedded.grad is None
    run, expected = scope.run(), plain(model)
    pd.testing.assert_frame_equal(run["layers"], expected["layers"])
    pd.testing.assert_frame_equal(run["branches"], expected["branches"])
