"""The monitor measures what `analyze` measures, and a training does not notice it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from watched import IDS, STEPS, adamw, model, same, train, weights

import sinkscope
from sinkscope import Monitor, SinkscopeError
from sinkscope.quantities.rows import monitored
from sinkscope.tables.columns import TABLES
from sinkscope.vscale import attach_, attached

LOGGED = [row.name for row in monitored() if row.headline]


def unwatched(make: Callable[[], nn.Module] = model) -> dict[str, torch.Tensor]:
    trained = make()
    train(trained, adamw(trained))
    return weights(trained)


def test_it_logs_what_an_analysis_of_the_same_windows_finds() -> None:
    watched = model()
    values = Monitor(watched, input_ids=IDS).measure(0)
    expected = sinkscope.analyze(watched, input_ids=IDS).headline
    assert values is not None
    assert set(values) == {f"sinkscope/{name}" for name in LOGGED}
    for name in LOGGED:
        assert values[f"sinkscope/{name}"] == pytest.approx(expected[name], rel=1e-5), name


def test_training_is_bit_identical_with_and_without_it() -> None:
    watched = model()
    monitor = Monitor(watched, input_ids=IDS, every=2)
    monitor.measure(0)
    train(watched, adamw(watched), monitor.step)
    assert [entry["step"] for entry in monitor.history] == [0, 2, 4, 6]
    assert same(weights(watched), unwatched())


def test_a_measurement_leaves_no_trace() -> None:
    watched = model()
    watched.model.layers[0].eval()
    watched.model.norm.weight.requires_grad_(False)
    watched(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()

    def state() -> dict[str, Any]:
        return {
            "modes": [module.training for module in watched.modules()],
            "flags": [p.requires_grad for p in watched.parameters()],
            "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in watched.modules()],
            "attention": watched.config._attn_implementation,
            "torch": torch.get_rng_state().tolist(),
            "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002  (the generator that other libraries share)
            "python": random.getstate(),
        }

    before, grads = state(), [None if p.grad is None else p.grad.clone() for p in watched.parameters()]
    assert Monitor(watched, input_ids=IDS).measure(1)
    assert state() == before
    assert sum(before["hooks"]) == 0
    for parameter, grad in zip(watched.parameters(), grads, strict=True):
        assert parameter.grad is None if grad is None else torch.equal(parameter.grad, grad)


def test_steps_in_between_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(model(), input_ids=IDS, every=3)
    asked: list[int] = []
    monkeypatch.setattr(monitor, "measure", lambda step: asked.append(step))
    for _ in range(7):
        monitor.step()
    assert asked == [3, 6]


def test_a_step_that_comes_again_is_measured_once() -> None:
    monitor = Monitor(model(), input_ids=IDS, every=2)
    found = [monitor.step(step) is not None for step in (1, 1, 2, 2, 2, 3, 4)]
    assert found == [False, False, True, False, False, False, True]


def test_numbers_go_to_the_log_and_into_the_frame() -> None:
    told: list[tuple[dict[str, float], int]] = []
    monitor = Monitor(
        model(), input_ids=IDS, every=2, log=lambda values, step: told.append((values, step)), prefix="probe."
    )
    train(monitor.model, adamw(monitor.model), monitor.step)
    table = monitor.frame()
    assert [step for _, step in told] == [2, 4, 6]
    assert list(table.columns) == [column.name for column in TABLES["monitor"].columns]
    for values, step in told:
        rows = table[table["step"] == step]
        assert values == {f"probe.{metric}": value for metric, value in zip(rows["metric"], rows["value"], strict=True)}
    assert table.loc[table["metric"] == "loss", "value"].nunique() == 3
    assert monitor.seconds > 0


def test_an_empty_monitor_has_an_empty_frame() -> None:
    assert Monitor(model(), input_ids=IDS).frame().empty


def test_theta_is_logged_where_there_is_vscale() -> None:
    watched = attach_(model())
    for layer, valve in enumerate(attached(watched)):
        valve.theta.data = torch.tensor([0.5, -1.5]) * (layer + 1)
    values = Monitor(watched, input_ids=IDS, prefix="").measure(0)
    assert values is not None
    assert (values["theta_mean"], values["theta_min"], values["theta_max"]) == (-0.75, -3.0, 1.0)


def test_training_with_vscale_is_bit_identical() -> None:
    watched = attach_(model())
    monitor = Monitor(watched, input_ids=IDS, every=2)
    train(watched, adamw(watched), monitor.step)
    thetas = monitor.frame().query("metric == 'theta_max'")["value"]
    assert thetas.nunique() == 3
    assert same(weights(watched), unwatched(lambda: attach_(model())))


@pytest.mark.parametrize("bos", ["auto", "never"])
def test_the_probe_is_made_from_text(bos: str) -> None:
    text = "A sentence about nothing much. " * 20
    monitor = Monitor(tiny.build("llama_gqa"), tiny.tokenizer(), data=[text], sequences=2, tokens=32, bos=bos)
    assert monitor._input_ids.shape == (2, 32)
    assert bool((monitor._input_ids[:, 0] == 0).all()) is (bos == "auto")
    assert monitor.measure(0)


def test_following_an_optimizer_needs_no_call_in_the_loop() -> None:
    watched = model()
    optimizer = adamw(watched)
    with Monitor(watched, input_ids=IDS, every=3).following(optimizer) as monitor:
        train(watched, optimizer)
    assert [entry["step"] for entry in monitor.history] == [0, 3, 6, STEPS]
    assert same(weights(watched), unwatched())
    train(watched, optimizer)
    assert len(monitor.history) == 4


def test_following_ends_with_the_loop_that_fails() -> None:
    watched = model()
    optimizer = adamw(watched)
    with pytest.raises(ZeroDivisionError), Monitor(watched, input_ids=IDS).following(optimizer) as monitor:
        raise ZeroDivisionError
    assert [entry["step"] for entry in monitor.history] == [0]
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_measured_and_not_compiled_anew(in_place: bool) -> None:
    compilations = 0

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> Any:
        nonlocal compilations
        compilations += 1
        return graph

    torch._dynamo.reset()
    watched = tiny.build("llama_gqa", initializer_range=0.2).train()
    if in_place:
        watched.compile(backend=backend)
    compiled = watched if in_place else torch.compile(watched, backend=backend)
    monitor = Monitor(compiled, input_ids=IDS, every=2)
    optimizer = adamw(watched)
    before: list[int] = []

    def after(step: int) -> None:
        before.append(compilations)
        assert (monitor.step(step) is not None) is (step % 2 == 0)

    train(compiled, optimizer, after)
    assert before[0] > 0
    assert compilations == before[0]
    expected = sinkscope.analyze(tiny_copy(watched), input_ids=IDS).headline
    values = monitor.measure(STEPS)
    assert values is not None
    assert values["sinkscope/gradient_sink_median"] == pytest.approx(expected["gradient_sink_median"], rel=1e-5)
    torch._dynamo.reset()


def tiny_copy(trained: nn.Module) -> Any:
    copy = tiny.build("llama_gqa")
    copy.load_state_dict(weights(trained))
    return copy


def test_distributed_data_parallel_is_unwrapped_and_undisturbed(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        watched = model()
        parallel = DistributedDataParallel(watched)
        monitor = Monitor(parallel, input_ids=IDS, every=2)
        train(parallel, adamw(parallel), monitor.step)
        assert len(monitor.history) == 3
        assert monitor.model is watched
        assert same(weights(watched), unwatched())
    finally:
        torch.distributed.destroy_process_group()


def test_other_processes_do_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert Monitor(model(), input_ids=IDS, every=1).step(1) is None


def test_sharded_models_are_refused(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        sharded = torch.distributed.fsdp.fully_shard(model(), mesh=mesh)
        with pytest.raises(SinkscopeError, match="sharded"):
            Monitor(sharded, input_ids=IDS)
    finally:
        torch.distributed.destroy_process_group()


def test_peft_adapters_are_measured_where_they_are() -> None:
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(model(), peft.LoraConfig(r=2, target_modules=["v_proj"], init_lora_weights=False))
    monitor = Monitor(adapted, input_ids=IDS, every=2)
    plain = Monitor(model(), input_ids=IDS).measure(0)
    assert plain is not None
    assert monitor.measure(0) != plain
    train(adapted, adamw(adapted), monitor.step)
    assert len(monitor.history) == 4


def test_gradient_checkpointing_does_not_matter() -> None:
    watched = model()
    watched.gradient_checkpointing_enable()
    train(watched, adamw(watched), (monitor := Monitor(watched, input_ids=IDS, every=2)).step)
    assert len(monitor.history) == 3
    assert all(module.training for module in watched.modules())


def test_under_autocast_and_no_grad_the_stored_weights_are_measured() -> None:
    watched = model()
    monitor = Monitor(watched, input_ids=IDS)
    plain = monitor.measure(0)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert monitor.measure(1) == plain
    with torch.inference_mode():
        assert monitor.measure(2) == plain


def test_a_failing_first_measurement_raises_and_a_later_one_warns(caplog: pytest.LogCaptureFixture) -> None:
    def break_(monitor: Monitor) -> None:
        monitor.model.model.layers[0].mlp.down_proj.weight.data.fill_(float("nan"))

    broken, breaking = (Monitor(model(), input_ids=IDS, every=1) for _ in range(2))
    break_(broken)
    with pytest.raises(SinkscopeError, match="non-finite"):
        broken.step(1)
    assert breaking.step(1)
    break_(breaking)
    assert breaking.step(2) is None
    assert "step 2 is not measured: non-finite" in caplog.text
    assert [entry["step"] for entry in breaking.history] == [1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"every": 0}, "every N steps"),
        ({"input_ids": torch.full((2, 8), 4000)}, "wrong tokenizer"),
        ({"input_ids": torch.zeros(1, tiny.CONTEXT + 1, dtype=torch.int64)}, "context"),
        ({"input_ids": None}, "tokenizer"),
        ({"input_ids": None, "data": "no/such.txt"}, "there is no file"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_training(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SinkscopeError, match=said):
        Monitor(model(), **({"input_ids": IDS} | arguments))


def test_only_known_causal_models_are_watched() -> None:
    with pytest.raises(SinkscopeError, match="not a Linear"):
        Monitor(nn.Linear(2, 2), input_ids=IDS)
