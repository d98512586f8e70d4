"""A number that is not finite is an error that names the weight, in every driver, with gradients and without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from safetensors.torch import load_file, save_file

from sinkscope.analysis.run import analyze
from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.run import evaluate
from sinkscope.evaluation.settings import EvaluationSettings
from sinkscope.passes.finite import reason

IDS = torch.arange(2, 42)[None]
DRIVERS: list[dict[str, Any]] = [{"stream": False}, {"gradient_checkpointing": True, "stream": False}, {"stream": True}]
WEIGHTS = ("lm_head.weight", "model.norm.weight", "model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("driver", DRIVERS, ids=["resident", "checkpointing", "stream"])
def test_the_weight_is_named(
    driver: dict[str, Any], backward: bool, weight: str, value: float, broken: Callable[..., Path]
) -> None:
    file = broken() / "model.safetensors"
    weights = load_file(file)
    weights[weight][2, ...] = value
    save_file(weights, file, metadata={"format": "pt"})
    settings = Settings(early=7, positions=16, sink_window=8, backward=backward)
    with pytest.raises(SinkscopeError, match=rf"the weights {weight} are not finite"):
        analyze(str(file.parent), input_ids=IDS, settings=settings, device="cpu", **driver)


@pytest.mark.parametrize("weight", WEIGHTS[1:3])
def test_a_scope_names_it_too(weight: str) -> None:
    model = families.tiny("llama_gqa")
    model.get_parameter(weight).data[0] = float("nan")
    with Scope(model, Settings(backward=False)), pytest.raises(SinkscopeError, match=weight):
        model(input_ids=IDS, use_cache=False)


def test_gradients_that_are_not_finite() -> None:
    model = families.tiny("llama_gqa")
    model.get_parameter("lm_head.weight").data[0] = float("nan")
    with Scope(model, Settings(early=7, positions=16, sink_window=8)) as scope:
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    with pytest.raises(SinkscopeError, match=r"non-finite gradients .* the weights lm_head.weight are not finite"):
        scope.run()


def test_an_evaluation_names_it(broken: Callable[..., Path], text: Path) -> None:
    file = broken() / "model.safetensors"
    weights = load_file(file)
    weights["lm_head.weight"][0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(SinkscopeError, match=r"lm_head\.weight"):
        evaluate(str(file.parent), data=str(text), settings=EvaluationSettings(documents=1, variants=()), device="cpu")


def test_without_a_weight_at_fault_the_dtype_is_it() -> None:
    model = families.tiny("llama_gqa")
    assert reason(model) == "try `dtype=float32` or bfloat16"
    for name in WEIGHTS:
        model.get_parameter(name).data[0] = float("inf")
    assert reason(model).endswith("and 1 more are not finite")
