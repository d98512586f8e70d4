"""Every shipped recipe parses, and a mistyped one is refused by the name of its key."""

from dataclasses import replace
from pathlib import Path

import pytest

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import TextSource
from sinkscope.training.recipe import DataConfig, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_parse(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"optimizer.learning_rate": 1e-3}, "'optimizer.learning_rate' is no key here; known are optimizer.lr, "),
        ({"optimizer.lr": "fast"}, "'optimizer.lr' must be a number, not 'fast'"),
        ({"schedule.steps": 1.5}, "'schedule.steps' must be a whole number, not 1.5"),
        ({"schedule.kind": "step"}, "'schedule.kind' must be one of cosine, linear, not 'step'"),
        ({"seed.value": 1}, "'seed.value' goes below a plain value"),
        ({"model": 3}, "'model' must be a table"),
        ({"seed": True}, "'seed' must be a whole number, not true"),
        ({"model.num_hidden_layers": 0}, "'model.num_hidden_layers' must be at least 1, not 0"),
        ({"model.hidden_size": -32}, "'model.hidden_size' must be at least 1, not -32"),
        ({"model.num_key_value_heads": 3}, "'model.num_key_value_heads' must divide "),
        ({"model.num_attention_heads": 7, "model.num_key_value_heads": 7}, "'model.num_attention_heads' must divide "),
        ({"model.head_dim": 7}, "'model.head_dim' must be even"),
        ({"model.initializer_range": float("nan")}, "'model.initializer_range' must be a finite number, not nan"),
        ({"tokenizer.vocab_size": 0}, "'tokenizer.vocab_size' must be at least 258, not 0"),
        ({"optimizer.lr": float("nan")}, "'optimizer.lr' must be a finite number, not nan"),
        ({"optimizer.lr": -1.0}, "'optimizer.lr' must be above 0, not -1.0"),
        ({"optimizer.beta1": 2.0}, "'optimizer.beta1' must be below 1, not 2.0"),
        ({"seed": -1}, "'seed' must be at least 0, not -1"),
        ({"schedule.steps": 0}, "'schedule.steps' must be at least 1, not 0"),
        ({"optimizer.lr": 0.0}, "'optimizer.lr' must be above 0"),
        ({"optimizer.micro_sequences": True}, "'optimizer.micro_sequences' must be a whole number, not true"),
    ],
)
def test_mistyped_recipes_are_refused(overrides: dict[str, object], complaint: str) -> None:
    with pytest.raises(SinkscopeError, match=complaint.replace("[", "\\[")):
        load_recipe(RECIPES[0], overrides)


def test_a_recipe_that_extends_another_differs_in_what_it_says() -> None:
    folder = RECIPES[0].parent
    base, twin = (load_recipe(folder / f"{name}.toml") for name in ("demo", "demo-vscale"))
    assert twin.vscale.variant == "learned"
    assert replace(twin, name=base.name, vscale=base.vscale) == base


@pytest.mark.parametrize(
    ("parent", "complaint"),
    [
        ('"../r"', "names a recipe beside it"),
        ("3", "names a recipe beside it"),
        ('"absent"', "cannot read recipe"),
        ('"r"', "extends another"),
    ],
)
def test_a_bad_parent_is_refused(tmp_path: Path, parent: str, complaint: str) -> None:
    (tmp_path / "r.toml").write_text(f'name = "r"\nextends = {parent}\n')
    with pytest.raises(SinkscopeError, match=complaint):
        load_recipe(tmp_path / "r.toml")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "r"\n[model]\nhidden_size = 8\n')
    with pytest.raises(SinkscopeError, match=r"'model\.intermediate_size' is missing"):
        load_recipe(tmp_path / "r.toml")


def test_a_training_reads_all_that_is_said_of_its_text() -> None:
    plain = TextSource().as_json()
    other = {name: value + 1 if type(value) is int else not value if value is False else f"not {value}"
             for name, value in plain.items()}  # fmt: skip
    text = TextSource(**other)
    data = DataConfig.of(text, tokens=16, bos="never")
    assert data.text() == text
    assert data.text("test") == replace(text, split="test")
