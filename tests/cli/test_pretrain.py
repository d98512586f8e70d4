"""`sinkscope pretrain` finds recipes, applies overrides and trains a model that `analyze` reads."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny import RECIPE

from sinkscope.cli import main
from sinkscope.errors import SinkscopeError
from sinkscope.loading.load import load_model
from sinkscope.pretraining.shipped_recipes import find_recipe, parse_overrides


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": f"document {n} and more words"}) for n in range(40)))
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.replace("SOURCE", str(text)))
    return path


def test_trains_by_a_recipe_with_overrides(recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["pretrain", str(recipe), "--out", str(out), "--steps", "3", "--seed", "5"]
    assert main([*arguments, "--set", "optimizer.lr=2e-3", "--set", "data.bos=always"]) == 0
    assert str(out / "model") in capfd.readouterr().out
    used = json.loads((out / "settings.json").read_text())
    assert (used["seed"], used["schedule"]["steps"], used["optimizer"]["lr"]) == (5, 3, 2e-3)
    assert used["data"]["bos"] == "always"
    assert len(pd.read_parquet(out / "metrics.parquet")) == 3
    assert load_model(str(out / "model")).model.config.hidden_size == 16


@pytest.mark.parametrize(("every", "named"), [(2, ["model", "checkpoints", "metrics"]), (100, ["model", "metrics"])])
def test_what_it_names_is_there(
    every: int, named: list[str], recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A training that is shorter than the spacing of its checkpoints has none."""
    arguments = ["pretrain", str(recipe), "--out", str(tmp_path / "out"), "--steps", "3"]
    assert main([*arguments, "--set", f"checkpoint.every={every}"]) == 0
    lines = [line.split(": ") for line in capfd.readouterr().out.splitlines()]
    assert [what for what, _ in lines] == named
    assert all(Path(place).exists() for _, place in lines)


@pytest.mark.parametrize("seeds", ["1", "2"])
def test_an_interrupted_training_says_how_to_go_on(
    seeds: str, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    arguments = ["pretrain", str(recipe), "--out", str(tmp_path / "out"), "--steps", "3", "--seeds", seeds]
    with monkeypatch.context() as patched:
        patched.setattr("sinkscope.pretraining.run.refuse_too_large", interrupt)  # nothing has begun
        assert main(arguments) == 1
    assert capfd.readouterr().err.splitlines()[-1] == "sinkscope: interrupted"
    with monkeypatch.context() as patched:
        patched.setattr("sinkscope.pretraining.run._train", interrupt)
        assert main(arguments) == 1
    said = "sinkscope: interrupted: the same command with --resume goes on from here"
    assert capfd.readouterr().err.splitlines()[-1] == said
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "optimizer.rate=1"], "'optimizer.rate' is no key here"),
        (["--set", "optimizer.lr=fast"], "'optimizer.lr' must be a number, not 'fast'"),
        (["--set", "optimizer.lr"], "--set takes key=value"),
        (["--steps", "few"], "--steps"),
    ],
)
def test_bad_overrides(
    arguments: list[str], said: str, recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", str(recipe), "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", ["model.hidden_size=-32", "seed=-1", "optimizer.eps=nan", "model.hidden_size=2097152"]
)
def test_the_corrected_command_finds_its_folder_free(
    change: str, recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A value that no training could have is found before `--out` is taken; so is a model that no memory holds."""
    command = ["pretrain", str(recipe), "--out", str(tmp_path / "out"), "--steps", "1"]
    large = ["--set", "model.num_hidden_layers=100", "--set", "model.intermediate_size=2097152"]
    assert main([*command, *large, "--set", change]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_several_seeds_do_not_go_on_with_one(recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["pretrain", str(recipe), "--out", str(tmp_path / "out"), "--steps", "1"]
    assert main(command) == 0
    capfd.readouterr()
    assert main([*command, "--resume", "--seeds", "2"]) == 2
    assert "holds a training of one seed: choose another --out, or leave out --seeds" in capfd.readouterr().err
    assert not list((tmp_path / "out").glob("seed-*"))


def test_training_never_overwrites(recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("data")
    assert main(["pretrain", str(recipe), "--out", str(out)]) == 2
    assert "is not empty" in capfd.readouterr().err
    assert [path.name for path in out.iterdir()] == ["precious"]


def test_shipped_recipes_are_found_by_name() -> None:
    assert find_recipe("demo").name == "demo.toml"
    with pytest.raises(SinkscopeError, match=r"there is no recipe nothing.*demo"):
        find_recipe("nothing")


def test_override_values_are_toml_or_plain_words() -> None:
    pairs = ["a.b=1e-3", "c=true", "d=stdlib", "e=[1, 2]", "f=x=y", 'g="3"', "h=3"]
    assert parse_overrides(pairs) == {
        "a.b": 1e-3,
        "c": True,
        "d": "stdlib",
        "e": [1, 2],
        "f": "x=y",
        "g": "3",
        "h": 3,
    }
