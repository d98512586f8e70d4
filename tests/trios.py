"""A trio of recipes that trains in a moment."""

import json
from pathlib import Path

import tiny

from sinkscope.reproduction.scales import Scale

TWINS = {"tiny-vscale": "learned", "tiny-backward-only": "backward-only"}
CHANGES = {
    "num_hidden_layers = 1": "num_hidden_layers = 2",
    "steps = 50": "steps = 6",
    "[schedule]": "[checkpoint]\nevery = 2\nevaluate = 3\n[schedule]",
    "lr = 1e-3": "lr = 1e-2",
}


def write_trio(folder: Path) -> tuple[str, str, str]:
    """Writes the recipes and their text; returns the paths of baseline, V-scale and backward-only."""
    folder.mkdir(exist_ok=True)
    text = folder / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": f"document {n} and {n * n} more words"}) for n in range(40)))
    recipe = tiny.RECIPE.replace("SOURCE", str(text))
    for old, new in CHANGES.items():
        assert old in recipe
        recipe = recipe.replace(old, new)
    (folder / "tiny.toml").write_text(recipe)
    for name, variant in TWINS.items():
        (folder / f"{name}.toml").write_text(f'name = "{name}"\nextends = "tiny"\n[vscale]\nvariant = "{variant}"\n')
    first, second, third = (str(folder / f"{name}.toml") for name in ("tiny", *TWINS))
    return first, second, third


def scale_of(recipes: tuple[str, str, str]) -> Scale:
    """A scale of a moment: two seeds, four windows."""
    return Scale("tiny", recipes, 2, 4, 2, needles=0, documents=2)
