"""What differs from the paper's setting, and what that means for what a reproduction says: sentences made of facts."""

from collections.abc import Mapping
from typing import Any

from sinkscope.training.recipe import Recipe

_SIZES = "0.1, 0.3 and 1.04 billion parameters"
_SMALLEST, _SHORTEST, _INITIAL, _ROPE = 100e6, 1024, 0.02, 10000.0  # of the paper


def of_training(recipe: Recipe, parameters: int, seeds: int) -> list[str]:
    """The sentences of a trio that was trained.

    Args:
        recipe: of the baseline.
        parameters: of the baseline's model.
        seeds: trainings of each model.
    """
    tokens = recipe.schedule.steps * recipe.optimizer.batch_sequences * recipe.data.tokens
    said = []
    if parameters < _SMALLEST:
        said.append(
            f"Size: {parameters / 1e6:.3g} million parameters, where the paper trains {_SIZES}. A claim that fails "
            "here may hold there; one that holds here was seen at this size."
        )
    said.append(
        f"Tokens: {tokens / 1e6:,.4g} million, {tokens / parameters:,.3g} per parameter; the paper's models see 25 to "
        "102 per parameter."
    )
    if "c4" not in recipe.data.source.lower():
        seen = (
            ""
            if recipe.data.valid_split
            else " Apart from the validation loss, models are measured on text of the same source that they were "
            "trained on, most of which they have seen."
        )
        said.append(
            f"Text: {recipe.data.source}, where the paper trains on C4: losses and perplexities compare with the "
            f"paper's in their changes alone.{seen}"
        )
    if recipe.data.bos == "always":
        said.append(
            "First token: every window starts with <bos>, where the paper packs documents without one. Token 0 is the "
            "same in every window, so that from one training its norms have no interval."
        )
    if recipe.data.tokens < _SHORTEST:
        said.append(
            f"Context: {recipe.data.tokens} tokens, where the paper has 1024 and 2048: the gradient at token 0 is "
            "summed over fewer queries."
        )
    if recipe.model.initializer_range != _INITIAL:
        said.append(
            f"Initialization: standard deviation {recipe.model.initializer_range:g}, where the paper has {_INITIAL:g}; "
            "V-scale's threshold C follows it, as equation (15) says."
        )
    if recipe.model.rope_theta != _ROPE:
        said.append(f"Positions: a RoPE base of {recipe.model.rope_theta:,.0f}, where the paper has {_ROPE:,.0f}.")
    said.append(
        f"Optimizer: peak rate {recipe.optimizer.lr:g}, the same for all three models; batches of "
        f"{recipe.optimizer.batch_sequences} windows and {recipe.schedule.steps:,} steps, where the paper has 512 and "
        "20,000 to 25,000."
    )
    here = "So does this run: its intervals say what other text would change, not what another training would."
    if seeds > 1:
        here = f"Here {seeds} seeds are pairs, with the same initialization and batches for all three models."
    said.append(f"Seeds: the paper trained each model once and prints no intervals. {here}")
    return said


def of_measuring(data: Mapping[str, Any], *, needles: bool, unquantized: str = "") -> list[str]:
    """The sentences of how models were measured.

    Args:
        data: what they read.
        needles: whether needles were asked for.
        unquantized: why INT8 was not measured; empty where it was.
    """
    left_out = "downstream tasks, YaRN" + ("" if needles else ", and needles in a haystack")
    asked = " Needles lie in text of the Python standard library, at one length." if needles else ""
    int8 = (
        "static scales are calibrated on windows of the same text behind the evaluated ones (minimum and maximum), and "
        "weights are rounded per output channel; perplexities are of the evaluated windows, where the paper's are of "
        "WikiText."
    )
    if unquantized:
        int8 = f"not measured, so that the claims about it are not testable here: {unquantized}."
    return [
        f"Gradients: summed over {data['sequences']} sequences of {data['tokens']} tokens, where the paper's diagnosis "
        "of public models sums over 512 of 2048. R_GS depends on their number.",
        f"INT8: {int8}",
        f"Left out: {left_out}.{asked}",
    ]


def of_one_model() -> list[str]:
    """The sentences of a model that was not trained here."""
    return [
        "One model: what needs a twin with V-scale is not tested. How it was trained is not known here, so what is "
        "seen of it says that the claims describe it, not why.",
    ]
