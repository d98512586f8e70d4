"""What goes wrong on the way ends in one line, with the last good state on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch

from sinkscope.errors import SinkscopeError
from sinkscope.files import failures as disk
from sinkscope.loading.load import load_model
from sinkscope.pretraining.run import pretrain, pretrain_seeds
from sinkscope.training import loop
from sinkscope.training.checkpoint import checkpoints
from sinkscope.training.corpus import prepare_corpus
from sinkscope.training.engine import make_accelerator
from sinkscope.training.recipe import Recipe, load_recipe
from sinkscope.training.step_metrics import is_spike


def failing_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Lets the loss of a step be NaN."""
    plain, calls = loop.compiled_loss, iter(range(10**6))

    def loss_of(*arguments: object) -> object:
        inner = plain(*arguments)  # type: ignore[arg-type]
        return lambda ids: inner(ids) * (float("nan") if next(calls) == step else 1.0)

    patch.setattr(loop, "compiled_loss", loss_of)


def test_a_loss_that_is_not_finite_stops_after_saving_the_last_good_state(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(7, monkeypatch)
    with pytest.raises(SinkscopeError, match=r"the loss is nan at step 7: the state before it is in .*step-000007"):
        pretrain(recipe, tmp_path / "run")
    saved = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert saved.name == "step-000007"
    weights = load_model(str(saved / "model")).model.state_dict()
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    assert len(pd.read_parquet(tmp_path / "run" / "metrics.parquet")) == 7
    assert not (tmp_path / "run" / "model").exists()


def test_too_little_disk_is_said_before_training(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SinkscopeError, match="too little disk for a checkpoint"):
        pretrain(recipe, tmp_path / "run")
    assert checkpoints(tmp_path / "run" / "checkpoints") == []


def test_resumes_from_nothing_and_leaves_finished_runs_alone(recipe: Recipe, tmp_path: Path) -> None:
    model = pretrain(recipe, tmp_path / "run", resume=True)
    stamp = (model / "model.safetensors").stat().st_mtime_ns
    assert pretrain(recipe, tmp_path / "run", resume=True) == model
    assert (model / "model.safetensors").stat().st_mtime_ns == stamp


def test_what_a_kill_left_is_gone_once_the_run_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(7, monkeypatch)
    with pytest.raises(SinkscopeError, match="the loss is nan"):
        pretrain(recipe, tmp_path / "run")
    monkeypatch.undo()
    half, note = (
        tmp_path / "run" / name
        for name in ("checkpoints/.step-000009.0123456789ab.building", ".settings.json.0123456789ab.building")
    )
    half.mkdir()
    (half / "optimizer.pt").touch()
    note.touch()
    model = pretrain(recipe, tmp_path / "run", resume=True)
    assert not half.exists()
    assert not note.exists()
    assert model.is_dir()


def test_other_settings_are_refused_by_the_name_of_their_key(recipe: Recipe, tmp_path: Path) -> None:
    pretrain(recipe, tmp_path / "run")
    other = replace(recipe, optimizer=replace(recipe.optimizer, lr=1.0), seed=3)
    with pytest.raises(SinkscopeError, match=r"other settings in optimizer\.lr, seed"):
        pretrain(other, tmp_path / "run", resume=True)


def test_accumulated_passes_give_the_losses_of_one_pass(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, batch_sequences=4))
    split = replace(recipe, optimizer=replace(recipe.optimizer, micro_sequences=1))
    one, many = pretrain(recipe, tmp_path / "one"), pretrain(split, tmp_path / "many")
    losses = [pd.read_parquet(out.parent / "metrics.parquet")["loss"].tolist() for out in (one, many)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_checkpoints_hold_models_and_only_the_newest_stay(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, checkpoint=replace(recipe.checkpoint, every=2, keep=2))
    pretrain(recipe, tmp_path / "run")
    kept = checkpoints(tmp_path / "run" / "checkpoints")
    assert [path.name for path in kept] == ["step-000008", "step-000010"]
    assert load_model(str(kept[0] / "model")).model.config.hidden_size == 16


def test_seeds_share_their_text_and_differ_in_weights(recipe: Recipe, tmp_path: Path) -> None:
    models = pretrain_seeds(recipe, tmp_path / "run", 2)
    assert [model.parent.name for model in models] == ["seed-0", "seed-1"]
    first, second = (load_model(str(model)).model.lm_head.weight for model in models)
    assert not torch.equal(first, second)
    assert len(list((tmp_path / "run" / "tokens").iterdir())) == 1


def test_logs_every_step_and_tells_a_tracker(recipe: Recipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pretrain(recipe, tmp_path / "run", log_to="tensorboard")
    rows = pd.read_parquet(tmp_path / "run" / "metrics.parquet")
    assert rows["step"].tolist() == list(range(12))
    assert {"loss", "lr", "grad_norm", "clipped", "spike", "valid_loss"} < set(rows.columns)
    assert rows["clipped"].tolist() == (rows["grad_norm"] > 1.0).tolist()
    share = 100 * rows["clipped"].mean()
    assert f"gradients clipped in {share:.1f} % of 12 steps; 0 loss spikes" in capfd.readouterr().err
    assert rows["valid_loss"].notna().tolist() == [(step + 1) % 6 == 0 for step in range(12)]
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))


def test_a_monitor_adds_numbers_and_changes_none(recipe: Recipe, tmp_path: Path) -> None:
    watched = pretrain(replace(recipe, monitor=5), tmp_path / "watched")
    plain = pretrain(recipe, tmp_path / "plain")
    rows = pd.read_parquet(watched.parent / "metrics.parquet")
    assert rows.loc[rows["sinkscope/gradient_sink_median"].notna(), "step"].tolist() == [4, 9]
    first, second = (load_model(str(model)).model.state_dict() for model in (watched, plain))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_unknown_and_missing_trackers_are_refused(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SinkscopeError, match="tensorboard, wandb, not paper"):
        pretrain(recipe, tmp_path / "run", log_to="paper")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SinkscopeError, match="pip install wandb"):
        pretrain(recipe, tmp_path / "run", log_to="wandb")
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_can_come_from_a_folder(recipe_file: Path, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    text = recipe_file.read_text().replace("vocab_size = 270", f'name = "{tiny_folders["llama_gqa"]}"')
    recipe_file.write_text(text)
    model = pretrain(load_recipe(recipe_file, {"schedule.steps": 2}), tmp_path / "run")
    config = json.loads((model / "config.json").read_text())
    assert config["vocab_size"] == 258
    recipe_file.write_text(text.replace(str(tiny_folders["llama_gqa"]), "./nowhere"))
    with pytest.raises(SinkscopeError, match=r"no folder \./nowhere"):
        pretrain(load_recipe(recipe_file), tmp_path / "other")


def test_a_spike_stands_out_from_the_steps_before() -> None:
    steady = [3.0 + 0.01 * (step % 5) for step in range(60)]
    assert not is_spike(3.05, steady)
    assert is_spike(3.5, steady)
    assert is_spike(3.5, [*steady, 9.0])
    assert not is_spike(9.0, steady[:10])
    assert not is_spike(3.001, [3.0] * 50)


def test_a_run_that_could_not_begin_leaves_its_folder_to_the_next(recipe: Recipe, tmp_path: Path) -> None:
    greedy = replace(recipe, data=replace(recipe.data, valid_sequences=10**6))
    with pytest.raises(SinkscopeError, match="ask for fewer"):
        pretrain(greedy, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".hidden").touch()
    with pytest.raises(SinkscopeError, match="ask for fewer"):
        pretrain(greedy, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".hidden"]
    assert pretrain(recipe, tmp_path / "run").is_dir()


@pytest.fixture
def interrupted(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that stopped at step 7, with checkpoints of the steps 4 and 7."""
    failing_at(7, monkeypatch)
    with pytest.raises(SinkscopeError, match="the loss is nan"):
        pretrain(recipe, tmp_path / "run")
    monkeypatch.undo()
    return tmp_path / "run"


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "gone"])
def test_damaged_training_state_is_named(recipe: Recipe, interrupted: Path, how: str) -> None:
    newest = checkpoints(interrupted / "checkpoints")[-1]
    inside = (
        "optimizer.pt",
        "random.pt",
        "metrics.parquet",
        "model/config.json",
        "model/model.safetensors",
        "state.json",
    )
    files = [*(newest / name for name in inside), interrupted / "settings.json", interrupted / "inputs.json"]
    for file in files:
        whole = file.read_bytes()
        damage(file, how)
        if how == "gone" and file.parent == interrupted:
            file.write_bytes(whole)
            continue
        with_state = how == "gone" and file.name == "state.json"  # without it the folder is no checkpoint
        if not with_state:
            with pytest.raises(SinkscopeError, match=rf"{file.name} is damaged"):
                pretrain(recipe, interrupted, resume=True)
        file.write_bytes(whole)
    (newest / "state.json").unlink()
    assert pretrain(recipe, interrupted, resume=True).is_dir()  # from the checkpoint before


def damage(file: Path, how: str) -> None:
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0x55
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "flipped": whole}[how])


def test_damaged_tokens_are_named_and_made_again(
    recipe: Recipe, interrupted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [kept] = (interrupted / "tokens").iterdir()
    windows = recipe.schedule.steps * recipe.optimizer.batch_sequences
    for name in ("train.bin", "train.json", "valid.json", "tokenizer.json", "tokenizer/tokenizer.json"):
        caplog.clear()
        whole = (kept / name).read_bytes()
        damage(kept / name, "flipped")
        accelerator = make_accelerator(precision="float32")
        prepare_corpus(recipe.data, recipe.tokenizer, interrupted / "tokens", accelerator, windows=windows)
        assert f"{kept / name} is damaged" in caplog.text
        assert (kept / name).read_bytes() == whole


def test_tokens_are_known_by_the_text_and_not_by_its_name(recipe: Recipe, tmp_path: Path, text: Path) -> None:
    def losses(name: str, tokens: Path | None) -> list[float]:
        pretrain(recipe, tmp_path / name, tokens=tokens)
        return list(pd.read_parquet(tmp_path / name / "metrics.parquet")["loss"])

    shared = tmp_path / "shared"
    first = losses("a", shared)
    text.write_text("\n".join(json.dumps({"text": f"zebra {n} quagga {n * 7} gnu"}) for n in range(40)))
    assert losses("b", shared) == losses("c", None) != first
    (tmp_path / "a" / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(SinkscopeError, match=r"text changed since .* was begun: go on with what it was begun with"):
        pretrain(recipe, tmp_path / "a", resume=True)


def test_a_disk_that_is_full_while_a_checkpoint_is_written_is_one_line(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0\nand a trace")

    monkeypatch.setattr("sinkscope.training.checkpoint.torch.save", full)
    with pytest.raises(SinkscopeError, match=r"cannot write a checkpoint to .*step-000004: .*unexpected pos 64 vs 0$"):
        pretrain(recipe, tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    monkeypatch.undo()
    assert pretrain(recipe, tmp_path / "run", resume=True).is_dir()


def test_a_single_document_cannot_be_held_out_and_trained_on(tmp_path: Path) -> None:
    """One long .txt file is one document, which used to be called too short."""
    text = tmp_path / "book.txt"
    text.write_text("words of a book " * 500)
    file = tmp_path / "tiny.toml"
    file.write_text(tiny.RECIPE.replace("SOURCE", str(text)))
    with pytest.raises(SinkscopeError, match=r"book\.txt is a single document, and one of 4 is held out"):
        pretrain(load_recipe(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()
