"""`sinkscope track` on real checkpoints: as every checkpoint's own analysis, resumable, one model at a time."""

import gc
import json
import re
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from checkpointed import SMALL, STEPS, trained
from huggingface_hub import HfApi
from huggingface_hub.hf_api import GitRefInfo, GitRefs
from safetensors.torch import load_file, save_file

import sinkscope
from sinkscope.capture.settings import Settings
from sinkscope.cli import main
from sinkscope.inputs import ModelSource
from sinkscope.loading import load
from sinkscope.methods import under
from sinkscope.report.tracking.sentences import sentences
from sinkscope.tables.columns import BY_KIND
from sinkscope.tables.run_folder import Run, read_run
from sinkscope.tracking import run as tracking
from sinkscope.tracking.checkpoints import find_checkpoints

FEW = [0, 2, 5]


@pytest.fixture(scope="module")
def run_of_13(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints as transformers' Trainer names them; tests must not write into them."""
    return trained(tmp_path_factory.mktemp("training"))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Three checkpoints that a test may break."""
    return trained(tmp_path / "few", steps=FEW)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which checkpoints were loaded, in order."""
    loaded: list[str] = []
    real = under.load_named

    def load_named(source: ModelSource, **options: Any) -> Any:
        loaded.append(source.revision or Path(source.name).name)
        return real(source, **options)

    monkeypatch.setattr(under, "load_named", load_named)
    return loaded


MEASURE = tracking.measure


def kill_at_the_third(loads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupts a track where it has loaded its third checkpoint."""

    def killed(*arguments: Any, **options: Any) -> Any:
        if len(loads) == 3:
            raise KeyboardInterrupt
        return MEASURE(*arguments, **options)

    monkeypatch.setattr(tracking, "measure", killed)


def track(source: Path | str, out: Path, *arguments: str, code: int = 0) -> Run | None:
    assert main(["track", str(source), "--out", str(out), *SMALL, *arguments]) == code
    return read_run(out) if (out / "run.json").exists() else None


def value(run: Run, step: int, metric: str) -> float:
    rows = run["track"]
    return float(rows[(rows["step"] == step) & (rows["metric"] == metric)]["value"].item())


@pytest.mark.slow
def test_thirteen_checkpoints_are_what_their_analyses_are(
    run_of_13: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = track(run_of_13, tmp_path / "out")
    assert run is not None
    printed = capfd.readouterr()
    assert "13 checkpoints, from step 0 to step 64" in printed.out
    assert printed.err.startswith("plan: ")
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "report.pdf").stat().st_size > 0
    assert list(run.tables) == [table.name for table in BY_KIND["track"]]
    assert [checkpoint["step"] for checkpoint in run.info["checkpoints"]] == STEPS
    for step in (STEPS[0], STEPS[-1]):
        settings = Settings(positions=32, early=15)
        alone = sinkscope.analyze(run_of_13 / f"checkpoint-{step}", sequences=4, tokens=32, settings=settings)
        assert alone.info["data"]["sha256"] == run.info["data"]["sha256"]
        for name, expected in alone.headline.items():
            if isinstance(expected, int | float) and not name.endswith(("_low", "_high")):  # ends stand in columns
                assert value(run, step, name) == pytest.approx(expected, rel=1e-9), name
        layers = run["track_layers"].query("step == @step")
        ratios = layers[layers["metric"] == "gradient_sink_ratio"]["value"]
        np.testing.assert_allclose(ratios, alone.layers["gradient_sink_ratio"])
        first = alone.heads.query("position == 0").groupby("layer")["alpha"].max()
        np.testing.assert_allclose(layers[layers["metric"] == "alpha_max"]["value"], first)
        assert value(run, step, "alpha_max") == pytest.approx(first.max())
        of_k = run["track_pathways"].query("step == @step and site == 'k'").set_index("position")["grad_norm"]
        expected_k = alone.positions.query("site == 'k'").groupby("position")["grad_norm"].mean()
        np.testing.assert_allclose(of_k, expected_k)
    assert run.info["headline"]["loss"] == value(run, 64, "loss")


@pytest.mark.usefixtures("undrawn")
def test_our_own_checkpoints_with_vscale(tmp_path: Path) -> None:
    source = trained(tmp_path / "run", layout="checkpoints/step-{step:06d}/model", vscale=True, steps=FEW)
    run = track(source, tmp_path / "out")
    assert run is not None
    assert [checkpoint["name"] for checkpoint in run.info["checkpoints"]] == [f"step-{step:06d}" for step in FEW]
    assert [value(run, step, "theta_mean") == 0 for step in FEW] == [True, False, False]
    thetas = run["track_layers"].query("metric == 'theta' and step == 5").set_index("layer")["value"]
    assert thetas.mean() == pytest.approx(value(run, 5, "theta_mean"))
    assert run.info["model"]["vscale"] == "learned"


def test_the_finished_model_of_our_own_training_is_the_last_checkpoint(few: Path, tmp_path: Path) -> None:
    out = tmp_path / "training"
    shutil.copytree(few, out / "checkpoints")
    shutil.copytree(few / "checkpoint-5", out / "model")
    assert [checkpoint.step for checkpoint in find_checkpoints(str(out))] == FEW
    (out / "settings.json").write_text(json.dumps({"schedule": {"steps": 9}}))
    last = find_checkpoints(str(out))[-1]
    assert (last.step, last.name, last.model) == (9, "model", str(out / "model"))
    (out / "checkpoints" / "checkpoint-5").rename(out / "checkpoints" / "step-000009")
    assert find_checkpoints(str(out))[-1].name == "step-000009"


@pytest.mark.usefixtures("undrawn")
def test_a_killed_track_resumes_where_it_was(
    few: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = track(few, tmp_path / "whole")
    loads.clear()
    kill_at_the_third(loads, monkeypatch)
    out = tmp_path / "out"
    assert track(few, out, code=1) is None
    assert "interrupted: the same command with --resume" in capfd.readouterr().err
    assert not out.exists()
    monkeypatch.setattr(tracking, "measure", MEASURE)
    assert track(few, out, code=2) is None
    assert "--resume" in capfd.readouterr().err
    assert track(few, out, "--resume", "--sequences", "3", code=2) is None
    assert "another sequences" in capfd.readouterr().err
    loads.clear()
    run = track(few, out, "--resume")
    assert loads == ["checkpoint-5"]
    assert run is not None
    assert whole is not None
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(run[name], table)
    assert run.info["data"] == whole.info["data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "out", "whole"]


@pytest.mark.usefixtures("undrawn")
def test_a_track_under_a_method_resumes_under_it(
    few: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every checkpoint is calibrated anew, on one text, which is kept with the windows."""
    method = ["--quantize", "w4a4-static", "--no-backward"]
    whole = track(few, tmp_path / "whole", *method)
    assert whole is not None
    analysis = tmp_path / "analysis"
    assert main(["analyze", str(few / "checkpoint-5"), "--out", str(analysis), *SMALL, *method]) == 0
    assert value(whole, 5, "loss") == read_run(analysis).info["headline"]["loss"]
    described = whole.info["model"]
    assert described["quantization"] == "w4a4-static"
    assert described["method"] == read_run(analysis).info["model"]["method"]
    loads.clear()
    kill_at_the_third(loads, monkeypatch)
    assert track(few, tmp_path / "out", *method, code=1) is None
    monkeypatch.setattr(tracking, "measure", MEASURE)
    capfd.readouterr()
    for other in ("w4a4-dynamic", "none"):
        assert track(few, tmp_path / "out", "--quantize", other, "--no-backward", "--resume", code=2) is None
        assert "another quantize:" in capfd.readouterr().err
    assert track(few, tmp_path / "out", *method, "--calibration-data", "stdlib", "--resume", code=2) is None
    assert "another calibration_data:" in capfd.readouterr().err
    resumed = track(few, tmp_path / "out", *method, "--resume")
    assert resumed is not None
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(resumed[name], table)
    assert resumed.info["model"] == described


@pytest.mark.usefixtures("undrawn")
def test_a_checkpoint_that_changed_is_measured_anew(
    few: Path, tmp_path: Path, loads: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    broken = few / "checkpoint-2" / "model.safetensors"
    content = broken.read_bytes()
    broken.write_bytes(content[:1000])
    run = track(few, tmp_path / "out", code=1)
    assert run is not None
    plan, error = capfd.readouterr().err.splitlines()
    assert plan.startswith("plan: ")
    assert "1 of 3 checkpoints could not be measured: checkpoint-2" in error
    assert [entry["name"] for entry in run.info["failed"]] == ["checkpoint-2"]
    assert [checkpoint["step"] for checkpoint in run.info["checkpoints"]] == [0, 5]
    broken.write_bytes(content)
    (few / "checkpoint-5" / "config.json").touch()
    loads.clear()
    run = track(few, tmp_path / "out", "--resume", "--force")
    assert loads == ["checkpoint-2", "checkpoint-5"]
    assert run is not None
    assert run.info["failed"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "out"]


@pytest.mark.usefixtures("undrawn")
def test_a_checkpoint_that_changes_while_it_is_measured(
    few: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def overwritten(*arguments: Any, **options: Any) -> Any:
        if len(loads) == 2:
            (few / "checkpoint-2" / "model.safetensors").unlink()  # what is loaded may be mapped into memory
            shutil.copy(few / "checkpoint-5" / "model.safetensors", few / "checkpoint-2")
        return MEASURE(*arguments, **options)

    monkeypatch.setattr(tracking, "measure", overwritten)
    assert track(few, tmp_path / "out", code=1) is None
    assert "the files of checkpoint-2 changed while it was measured: --resume to go on" in capfd.readouterr().err
    monkeypatch.setattr(tracking, "measure", MEASURE)
    loads.clear()
    run = track(few, tmp_path / "out", "--resume")
    assert loads == ["checkpoint-2"]
    assert run is not None
    hashes = [checkpoint["weights_sha256"] for checkpoint in run.info["checkpoints"]]
    assert hashes[1] == hashes[2] != hashes[0]


def _described(folder: Path, **changes: Any) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))


def _stored(folder: Path, name: str, tensor: torch.Tensor) -> None:
    weights = {**load_file(folder / "model.safetensors"), name: tensor}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("number", "fault", "reason"),
    [
        (0, lambda folder: _described(folder, quantization_config={"quant_method": "evil"}), "quantized by 'evil'"),
        (2, lambda folder: _described(folder, rms_norm_eps="wide"), "checkpoint-2"),
        (5, lambda folder: _stored(folder, "extra", torch.zeros(1)), "1 stored weight(s) have no place"),
        (2, lambda folder: _stored(folder, "lm_head.weight", torch.full((258, 32), torch.nan)), "lm_head.weight"),
        (0, lambda folder: (folder / "tokenizer.json").write_text("{"), "no usable tokenizer"),
    ],
    ids=["method", "config", "extra", "nan", "tokenizer"],
)
def test_a_broken_checkpoint_is_named_and_left_out(
    number: int,
    fault: Callable[[Path], object],
    reason: str,
    few: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fault(few / f"checkpoint-{number}")
    run = track(few, tmp_path / "out", code=1)
    assert run is not None
    assert [checkpoint["step"] for checkpoint in run.info["checkpoints"]] == [step for step in FEW if step != number]
    (entry,) = run.info["failed"]
    assert entry["name"] == f"checkpoint-{number}"
    assert reason in entry["reason"]
    assert f"1 of 3 checkpoints could not be measured: checkpoint-{number}" in capfd.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_one_checkpoint_under_several_names_has_no_order(few: Path, tmp_path: Path) -> None:
    for step in FEW[1:]:
        shutil.rmtree(few / f"checkpoint-{step}")
        shutil.copytree(few / "checkpoint-0", few / f"checkpoint-{step}")
    run = track(few, tmp_path / "out")
    assert run is not None
    assert [checkpoint.get("same_as") for checkpoint in run.info["checkpoints"]] == [None, 0, 0]
    assert run["appearances"]["rank"].isna().all()
    said = " ".join(sentences(run))
    assert "have the same weights" in said
    assert "It is one checkpoint several times over, so nothing was seen to appear and there is no order." in said
    assert "Order of appearance" not in said


@pytest.mark.usefixtures("undrawn")
def test_one_model_is_alive_at_a_time(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.nn.Module]] = []
    real = under.load_named
    gc.disable()  # only what track itself collects counts

    def load_named(*arguments: Any, **options: Any) -> Any:
        assert [model for model in alive if model() is not None] == []
        loaded = real(*arguments, **options)
        alive.append(weakref.ref(loaded.model))
        return loaded

    monkeypatch.setattr(under, "load_named", load_named)
    try:
        track(few, tmp_path / "out")
    finally:
        gc.enable()
    assert len(alive) == 3


@pytest.mark.usefixtures("undrawn")
def test_the_first_tokenizer_serves_all(few: Path, tmp_path: Path, tiny_folders: dict[str, Path]) -> None:
    for step in FEW[1:]:
        (few / f"checkpoint-{step}" / "tokenizer.json").unlink()
    run = track(few, tmp_path / "out")
    assert run is not None
    assert len(run.info["checkpoints"]) == 3
    (few / "checkpoint-0" / "tokenizer.json").unlink()
    other = track(few, tmp_path / "other", "--tokenizer", str(tiny_folders["llama_gqa"]))
    assert other is not None
    pd.testing.assert_frame_equal(run["track"], other["track"])


@pytest.mark.usefixtures("undrawn")
def test_forward_only(few: Path, tmp_path: Path) -> None:
    run = track(few, tmp_path / "out", "--no-backward")
    assert run is not None
    assert np.isnan(value(run, 5, "gradient_sink_median"))
    assert "gradient sink" not in set(run["appearances"]["phenomenon"])


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Tracks something that cannot be tracked, checks the form of the refusal, and returns the line."""

    def run(source: Path | str, *arguments: str, code: int = 1) -> str:
        (tmp_path / "runs").mkdir(exist_ok=True)
        capfd.readouterr()
        assert track(source, tmp_path / "runs" / "out", *arguments, code=code) is None
        printed = capfd.readouterr()
        assert printed.out == ""
        said = re.sub(r"\Aplan: .*\n", "", printed.err)  # what fails on the way does so after the plan
        assert said.startswith("sinkscope: ")
        assert said.count("\n") == 1
        assert list((tmp_path / "runs").iterdir()) == []
        return said

    return run


def test_no_checkpoints(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    assert "holds no checkpoints" in refused(tmp_path / "empty")
    assert "--revisions" in refused(tmp_path / "nothing")


def test_names_without_a_number(refused: Callable[..., str], few: Path) -> None:
    (few / "checkpoint-2").rename(few / "checkpoint-final")
    assert "checkpoint-final" in refused(few)


def test_two_checkpoints_of_one_step(refused: Callable[..., str], few: Path) -> None:
    shutil.copytree(few / "checkpoint-2", few / "step-000002")
    assert "two checkpoints of step 2: checkpoint-2, step-000002" in refused(few)


def test_mixed_architectures(refused: Callable[..., str], few: Path) -> None:
    config = few / "checkpoint-5" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 3}))
    message = refused(few, code=2)
    assert "checkpoint-5 is another model than checkpoint-0: num_hidden_layers 3, not 2" in message


def test_nothing_that_loads(refused: Callable[..., str], few: Path) -> None:
    for step in FEW:
        (few / f"checkpoint-{step}" / "model.safetensors").unlink()
    assert "none of the 3 checkpoints could be measured; checkpoint-0: " in refused(few)


def test_impossible_requests(refused: Callable[..., str], few: Path) -> None:
    assert "context" in refused(few, "--tokens", "4000", code=2)
    assert "--revisions" in refused(few, "--revisions", "step*", code=2)
    assert "there is no file" in refused(few, "--data", "no/such.txt")
    assert "no usable tokenizer" in refused(few, "--tokenizer", str(few))


def test_output_that_is_taken(few: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("data")
    assert track(few, tmp_path / "out", code=2) is None
    assert "--force" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


@pytest.fixture
def hub(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub with one model, whose branches and tags are the checkpoints of `few`."""

    def refs(_api: HfApi, name: str) -> GitRefs:
        assert name == "owner/model"
        branches = [
            GitRefInfo(name=ref, ref=f"refs/heads/{ref}", target_commit="0") for ref in ("main", "step5", "step0")
        ]
        tags = [GitRefInfo(name="step2-tokens1B", ref="refs/tags/step2-tokens1B", target_commit="0")]
        return GitRefs(branches=branches, converts=[], tags=tags)

    real = load.load_named

    def load_named(source: ModelSource, **options: Any) -> Any:
        assert source.name == "owner/model"
        folder = few / f"checkpoint-{str(source.revision).removeprefix('step').split('-')[0]}"
        return real(replace(source, name=str(folder), revision=None), **options)

    monkeypatch.setattr(HfApi, "list_repo_refs", refs)
    monkeypatch.setattr(under, "load_named", load_named)


@pytest.mark.usefixtures("undrawn", "hub")
def test_revisions_of_a_hub_model(tmp_path: Path) -> None:
    run = track("owner/model", tmp_path / "out", "--revisions", "step*")
    assert run is not None
    found = [(checkpoint["step"], checkpoint["name"]) for checkpoint in run.info["checkpoints"]]
    assert found == [(0, "step0"), (2, "step2-tokens1B"), (5, "step5")]


@pytest.mark.usefixtures("hub")
def test_patterns_that_match_too_little_or_too_much(refused: Callable[..., str]) -> None:
    assert "no revision of owner/model matches checkpoint*" in refused("owner/model", "--revisions", "checkpoint*")
    assert "main of owner/model has no number" in refused("owner/model", "--revisions", "*")


def test_the_hub_is_named_where_it_is_offline(refused: Callable[..., str]) -> None:
    assert "HF_HUB_OFFLINE" in refused("owner/model", "--revisions", "step*")
