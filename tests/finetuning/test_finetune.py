"""Finetuning with V-scale: what is trained, what is left on disk, and that only that changes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sinkscope.errors import SinkscopeError
from sinkscope.files.sealed import read_sealed
from sinkscope.finetuning import run as module
from sinkscope.finetuning.before_after import report
from sinkscope.finetuning.run import finetune
from sinkscope.finetuning.settings import Finetuning, LoraSettings, VScaleStart
from sinkscope.finetuning.start import ramp
from sinkscope.loading.load import load, load_model
from sinkscope.report.text import number
from sinkscope.training.checkpoint import checkpoints
from sinkscope.training.recipe import CheckpointConfig, DataConfig, OptimizerConfig, ScheduleConfig
from sinkscope.vscale import attached, paper_scale

IDS = torch.randint(2, 250, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def settings(text: Path, tiny_folders: dict[str, Path]) -> Any:
    def make(**changes: Any) -> Finetuning:
        chosen: dict[str, Any] = {
            "model": str(tiny_folders["llama_gqa"]),
            "data": DataConfig(source=str(text), tokens=16, bos="auto", holdout=4, valid_sequences=4),
            "optimizer": OptimizerConfig(lr=1e-3, batch_sequences=2),
            "schedule": ScheduleConfig(steps=6, warmup=1),
            "checkpoint": CheckpointConfig(every=2, evaluate=3),
            "vscale": VScaleStart(),
        }
        return Finetuning(**{**chosen, **changes})

    return make


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(input_ids=IDS, use_cache=False).logits
    return result


def weights(folder: Path | str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = load(folder).state_dict()
    return state


def test_trains_all_weights_with_a_control_on_the_same_data(settings: Any, tmp_path: Path) -> None:
    done = finetune(settings(), tmp_path / "out", control=True)
    assert done.control is not None
    assert list(done.losses) == ["before", "attached", "after", "control"]
    assert done.losses == read_sealed(tmp_path / "out" / "losses.json")
    base, after, control = (load(folder) for folder in (settings().model, done.model, done.control))
    assert len(attached(after)) == 2
    assert attached(control) == []
    assert not torch.equal(after.lm_head.weight, base.lm_head.weight)
    assert not torch.equal(control.lm_head.weight, base.lm_head.weight)
    rows = [pd.read_parquet(folder.parent / "metrics.parquet") for folder in (done.model, done.control)]
    assert [len(frame) for frame in rows] == [6, 6]
    # The same first batch, seen by nearly the same model: C is calibrated to change little.
    assert rows[0]["loss"][0] == pytest.approx(rows[1]["loss"][0], abs=0.05)
    assert len(list((tmp_path / "out" / "tokens").iterdir())) == 1


def test_losses_are_those_of_the_models(settings: Any, tmp_path: Path) -> None:
    done = finetune(settings(), tmp_path / "out", control=False)
    for moment, folder in (("before", settings().model), ("after", done.model)):
        model = load(folder)
        with torch.no_grad():
            expected = float(model(input_ids=done.valid, labels=done.valid, use_cache=False).loss)
        assert done.losses[moment] == pytest.approx(expected, abs=1e-4)


def test_theta_alone_leaves_an_adapter_of_kilobytes(settings: Any, tmp_path: Path) -> None:
    chosen = settings(train="theta", optimizer=OptimizerConfig(lr=0.1, batch_sequences=2))
    done = finetune(chosen, tmp_path / "out", control=False)
    assert sorted(path.name for path in done.model.iterdir()) == ["vscale.json", "vscale.safetensors"]
    before, after = weights(chosen.model), weights(done.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert float(torch.cat([valve.theta for valve in attached(load(done.model))]).abs().min()) > 0
    with pytest.raises(SinkscopeError, match="leave out `control`"):
        finetune(chosen, tmp_path / "other", control=True)


@pytest.mark.parametrize("load_in", [None, "4bit", "8bit"])
def test_low_rank_layers_are_merged_into_the_whole_base(load_in: str | None, settings: Any, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(lr=1e-2, batch_sequences=2)
    chosen = settings(train="lora", lora=LoraSettings(rank=2, alpha=4), load_in=load_in, optimizer=optimizer)
    done = finetune(chosen, tmp_path / "out", control=False)
    before, after = weights(chosen.model), weights(done.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    linear = {name for name in before if name.endswith("_proj.weight")}
    assert changed == linear
    assert len(attached(load(done.model))) == 2
    largest = max(int(torch.linalg.matrix_rank((after[name] - before[name]).double(), tol=1e-6)) for name in linear)
    assert largest == 2
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()
    quantized = load_model(str(done.model), quantize={"4bit": "nf4", "8bit": "int8"}.get(load_in or ""))
    assert bool(torch.isfinite(logits(quantized.model)).all())


@pytest.mark.parametrize("train", ["all", "lora", "theta"])
def test_a_run_that_was_cut_off_resumes_to_the_same_model(
    train: str, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = LoraSettings(rank=2, alpha=4, dropout=0.1) if train == "lora" else None
    chosen = settings(train=train, lora=lora)
    whole = finetune(chosen, tmp_path / "whole", control=False)
    plain = module.set_ramp_

    def cut_off(model: Any, value: float) -> None:
        if checkpoints(tmp_path / "cut" / "checkpoints")[1:]:
            raise KeyboardInterrupt
        plain(model, value)

    monkeypatch.setattr(module, "set_ramp_", cut_off)
    with pytest.raises(KeyboardInterrupt):
        finetune(chosen, tmp_path / "cut", control=False)
    monkeypatch.setattr(module, "set_ramp_", plain)
    done = finetune(chosen, tmp_path / "cut", control=False, resume=True)
    expected, found = weights(whole.model), weights(done.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert done.losses == whole.losses


def test_identity_starts_without_a_valve_and_raises_it(settings: Any, tmp_path: Path) -> None:
    start = VScaleStart(init="identity", warmup=4)
    assert [ramp(start, step) for step in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    done = finetune(settings(vscale=start), tmp_path / "out", control=False)
    assert done.losses["attached"] == pytest.approx(done.losses["before"], abs=1e-6)
    model = load(done.model)
    assert [float(valve.ramp) for valve in attached(model)] == [1.0, 1.0]
    assert torch.equal(attached(model)[0].scale, paper_scale(model)[0])


def test_eight_bit_adam_and_gradient_checkpointing_train(settings: Any, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(lr=1e-2, batch_sequences=2, micro_sequences=1, name="adamw8bit")
    done = finetune(settings(optimizer=optimizer, gradient_checkpointing=True), tmp_path / "out", control=False)
    assert done.losses["after"] < done.losses["before"]


def test_saves_in_the_dtype_of_the_base(settings: Any, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    load(tiny_folders["llama_gqa"]).to(torch.bfloat16).save_pretrained(tmp_path / "base")
    load_model(str(tiny_folders["llama_gqa"])).tokenizer.save_pretrained(tmp_path / "base")
    done = finetune(settings(model=str(tmp_path / "base")), tmp_path / "out", control=False)
    model = load(done.model)
    assert model.dtype == torch.bfloat16
    assert attached(model)[0].theta.dtype == torch.float32


@pytest.mark.usefixtures("one_page")
def test_the_report_says_what_changed_and_what_the_control_says(settings: Any, tmp_path: Path) -> None:
    done = finetune(settings(), tmp_path / "out", control=True)
    compared = report(done, tmp_path / "out", command="sinkscope finetune")
    assert [run["name"] for run in compared.info["runs"]] == ["control", "before", "after"]
    assert compared.info["reference"] == "control"
    what, loss, against, before = compared.info["notes"]
    assert "V-scale (learned) was attached" in what
    assert "6 steps (192 tokens" in what
    for moment in ("before", "attached", "after", "control"):
        assert f"{done.losses[moment]:.4f}" in loss
    assert against.startswith("Against the control: ")
    ratios = compared["comparison"].set_index(["metric", "run"])["value"]
    quotient = ratios["perplexity", "after"] / ratios["perplexity", "control"]
    assert f"(x {number(quotient)}" in against
    judged = compared["comparison"].set_index(["metric", "run"])["verdict"]
    assert f"perplexity {judged['perplexity', 'after']}" in against
    assert before.startswith("Against the model before: ")
    for name in ("after", "control"):
        assert f"x {number(ratios['perplexity', name] / ratios['perplexity', 'before'])}" in before
    curves = compared["training_losses"]
    assert sorted(curves["run"].unique()) == ["after", "before", "control"]
    assert curves[curves["run"] == "before"][["step", "valid_loss"]].to_numpy().tolist() == [[0, done.losses["before"]]]
    for run, folder, first in (("after", "out", "attached"), ("control", "out/control", "before")):
        metrics = pd.read_parquet(tmp_path / folder / "metrics.parquet").set_index("step")
        curve = curves[curves["run"] == run].set_index("step")
        assert list(curve.index) == list(range(len(metrics) + 1))
        assert curve.loc[0, "valid_loss"] == done.losses[first]
        assert curve["valid_loss"].iloc[-1] == done.losses[run]
        assert np.isnan(curve["loss"].iloc[-1])
        for step, row in metrics.iterrows():
            assert curve.loc[step, "loss"] == row["loss"]
            if step + 1 < len(metrics):
                np.testing.assert_equal(curve.loc[step + 1, "valid_loss"], row["valid_loss"])
    assert "training" in {path.stem for path in (tmp_path / "out" / "report" / "figures").iterdir()}
    assert (tmp_path / "out" / "report" / "report.pdf").is_file()
    again = report(done, tmp_path / "out", command="sinkscope finetune")
    assert again["comparison"].equals(compared["comparison"])


@pytest.mark.usefixtures("undrawn")
def test_without_a_control_the_report_says_so(settings: Any, tmp_path: Path) -> None:
    done = finetune(settings(), tmp_path / "out", control=False)
    compared = report(done, tmp_path / "out", command="")
    assert "No control was trained" in compared.info["notes"][2]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train": "some"}, "`train` is one of all, lora, theta"),
        ({"train": "theta", "vscale": None}, "needs `vscale`"),
        ({"load_in": "4bit"}, "quantized weights cannot be trained"),
        ({"load_in": "2bit"}, "`load_in` is one of"),
        ({"load_in": "w8a8-static"}, "training runs through .* other methods are for measuring what came out"),
        ({"precision": "half"}, "`precision` is one of"),
        ({"optimizer": OptimizerConfig(lr=0.0, batch_sequences=1)}, "`lr` must be above 0, not 0.0"),
        ({"optimizer": OptimizerConfig(lr=float("nan"), batch_sequences=1)}, "`lr` must be a finite number, not nan"),
        ({"data": DataConfig("stdlib", tokens=1)}, "`tokens` must be at least 2, not 1"),
        ({"checkpoint": CheckpointConfig(every=0)}, "`checkpoint_every` must be at least 1, not 0"),
        ({"train": "lora", "lora": LoraSettings(rank=0)}, "`lora_rank` must be at least 1, not 0"),
        ({"seed": -1}, "`seed` must be at least 0, not -1"),
        ({"train": "theta", "vscale": VScaleStart("fixed")}, "no theta to train"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], complaint: str, settings: Any) -> None:
    with pytest.raises(SinkscopeError, match=complaint):
        settings(**changes)


@pytest.mark.parametrize(
    ("load_in", "quantize"), [(None, None), ("4bit", "nf4"), ("8bit", "int8"), ("nf4", "nf4"), ("int8", "int8")]
)
def test_a_quantized_base_has_two_spellings(load_in: str | None, quantize: str | None, settings: Any) -> None:
    assert settings(train="theta", load_in=load_in).quantize == quantize


def test_impossible_starts_are_refused() -> None:
    for start, complaint in (
        ({"variant": "loud"}, "`vscale_variant`"),
        ({"init": "random"}, "`vscale_init`"),
        ({"init": "identity"}, "needs `vscale_warmup`"),
        ({"warmup": -1}, "cannot be negative"),
    ):
        with pytest.raises(SinkscopeError, match=complaint):
            VScaleStart(**start)


def test_a_device_that_is_none_is_refused(settings: Any, tmp_path: Path) -> None:
    with pytest.raises(SinkscopeError, match="`device=nonsense` is none"):
        finetune(settings(), tmp_path / "out", control=False, device="nonsense")
    assert not (tmp_path / "out").exists()


def test_a_second_vscale_is_refused(settings: Any, tmp_path: Path) -> None:
    with pytest.raises(SinkscopeError, match="has V-scale already"):
        finetune(settings(model="demo-vscale"), tmp_path / "out", control=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changed", ["weights", "config", "text"])
def test_another_base_or_text_is_not_gone_on_with(
    settings: Any, tmp_path: Path, broken: Any, text: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    base = broken()
    asked = settings(model=str(base))

    def stops(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", stops)
    with pytest.raises(KeyboardInterrupt):
        finetune(asked, tmp_path / "out", control=False)
    monkeypatch.undo()
    if changed == "text":
        text.write_text(text.read_text().replace("more words", "other words"))
    elif changed == "config":
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    else:
        tensors = load_file(base / "model.safetensors")
        first = min(tensors)
        save_file({**tensors, first: tensors[first] * 2}, base / "model.safetensors", metadata={"format": "pt"})
    name = "text" if changed == "text" else rf"model\.{changed}"
    with pytest.raises(SinkscopeError, match=rf"^{name} changed since .*out was begun"):
        finetune(asked, tmp_path / "out", control=False, resume=True)
