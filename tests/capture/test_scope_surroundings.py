"""What stands around a Scope or an analysis changes nothing, or is refused: mixed precision, dtypes, wrappers."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import families
import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from sinkscope.analysis.run import analyze
from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.monitoring.monitor import Monitor

SETTINGS = Settings(early=7, positions=16, sink_window=8)
IDS = torch.arange(2, 42)[None]
NAMES = ("loss", "gradient_sink_median", "sink_rate_mean")


@pytest.fixture
def model() -> PreTrainedModel:
    return families.tiny("llama_gqa")


def step(model: nn.Module, *, autocast: bool = False) -> dict[str, Any]:
    with Scope(model, SETTINGS) as scope:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
        loss.backward()
    return {**scope.run().info["headline"], "loss": float(loss)}


def close(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    for name in NAMES:
        assert found[name] == pytest.approx(expected[name], rel=tolerance), name


@pytest.mark.parametrize("name", ["llama_gqa", "gemma2", "falcon_two_norms", "gpt_oss"])
def test_mixed_precision_computes_what_it_does_without_a_scope(name: str) -> None:
    model = families.tiny(name, sharpness=2.0)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = float(model(input_ids=IDS, labels=IDS, use_cache=False).loss)
    assert step(model, autocast=True)["loss"] == pytest.approx(expected, rel=2e-2)


def test_a_float64_model(model: PreTrainedModel) -> None:
    expected = step(model)
    close(step(model.double()), expected, 1e-4)
    close(analyze(model, input_ids=IDS, settings=SETTINGS).headline, expected, 1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_default_dtype(dtype: torch.dtype, model: PreTrainedModel) -> None:
    expected = step(model), analyze(model, input_ids=IDS, settings=SETTINGS).headline
    torch.set_default_dtype(dtype)
    try:
        found = step(model), analyze(model, input_ids=IDS, settings=SETTINGS).headline
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        close(one, other, 1e-6)


@pytest.mark.parametrize(
    "around",
    [
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.inference_mode(),
        lambda: torch.no_grad(),
    ],
    ids=["autocast", "inference", "no_grad"],
)
def test_an_analysis_inside_of_something(
    around: Callable[[], AbstractContextManager[Any]], model: PreTrainedModel
) -> None:
    expected = analyze(model, input_ids=IDS, settings=SETTINGS).headline
    with around():
        ids = IDS.clone()
        assert analyze(model, input_ids=ids, settings=SETTINGS).headline == expected
        named = analyze("demo", input_ids=ids, settings=SETTINGS, device="cpu").headline
    assert named == analyze("demo", input_ids=IDS, settings=SETTINGS, device="cpu").headline


def test_inference_mode_measures_forward_passes(model: PreTrainedModel) -> None:
    with torch.inference_mode(), Scope(model, Settings(**{**vars(SETTINGS), "backward": False})) as scope:
        model(input_ids=IDS, use_cache=False)
    assert scope.run().info["headline"]["sink_rate_mean"] == step(model)["sink_rate_mean"]
    with torch.inference_mode(), Scope(model, SETTINGS) as scope:
        model(input_ids=IDS, use_cache=False)
    with pytest.raises(SinkscopeError, match="no gradient arrived"):
        scope.run()
    with torch.inference_mode():
        made = families.tiny("llama_gqa")
    with pytest.raises(SinkscopeError, match="was made in torch's inference mode"):
        analyze(made, input_ids=IDS, settings=SETTINGS)


@pytest.mark.parametrize("in_place", [True, False])
def test_compiled_layers_run_as_they_were_written(in_place: bool, model: PreTrainedModel) -> None:
    expected = step(model)
    layers: Any = model.get_submodule("model.layers")
    compiled: list[int] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        compiled.append(1)
        return graph

    for number, layer in enumerate(layers):
        if in_place:
            layer.compile(backend=backend)
        else:
            layers[number] = torch.compile(layer, backend=backend)
    model(input_ids=IDS, use_cache=False)
    before = len(compiled)
    assert before
    close(step(model), expected, 1e-6)
    model(input_ids=IDS, use_cache=False)
    assert len(compiled) == before, "and what was compiled still serves"


def test_wrappers(model: PreTrainedModel) -> None:
    expected = step(model)
    close(step(nn.DataParallel(model)), expected, 1e-6)
    close(analyze(nn.DataParallel(model), input_ids=IDS, settings=SETTINGS).headline, expected, 1e-4)
    spread = nn.DataParallel(model)
    spread.device_ids = [0, 1]
    with pytest.raises(SinkscopeError, match="DataParallel calls copies"):
        Scope(spread)
    with pytest.raises(SinkscopeError, match="a compiled model cannot be measured"):
        Scope(torch.compile(model))


def test_what_is_no_causal_model(model: PreTrainedModel) -> None:
    headless = AutoModel.from_config(model.config)
    for take in (Scope, lambda m: analyze(m, input_ids=IDS), lambda m: Monitor(m, input_ids=IDS)):
        with pytest.raises(RequestError, match=r"a LlamaModel has no head .* AutoModelForCausalLM"):
            take(headless)
        with pytest.raises(RequestError, match="not a Linear"):
            take(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "ids",
    [IDS.tolist(), IDS.numpy(), IDS.numpy().astype(np.uint16), IDS.int(), IDS.to(torch.uint8), [range(2, 42)]],
    ids=["lists", "numpy", "uint16", "int32", "uint8", "ranges"],
)
def test_ids_as_programs_keep_them(ids: Any, model: PreTrainedModel) -> None:
    expected = analyze(model, input_ids=IDS, settings=SETTINGS)
    found = analyze(model, input_ids=ids, settings=SETTINGS)
    assert found.headline == expected.headline
    assert found.info["data"]["sha256"] == expected.info["data"]["sha256"]
    assert Monitor(model, input_ids=ids, every=1, settings=SETTINGS).step(1) is not None


@pytest.mark.parametrize("ids", [IDS[0], IDS.float(), IDS.bool(), [[1, 2], [3]], [["a"]], [], [[2**70, 1]], object()])
def test_ids_that_are_none(ids: Any, model: PreTrainedModel) -> None:
    with pytest.raises(RequestError, match="input_ids are integers"):
        analyze(model, input_ids=ids, settings=SETTINGS)
    with pytest.raises(RequestError, match="input_ids are integers"):
        Monitor(model, input_ids=ids)
