"""A recipe's model, freshly initialized, and its optimizer."""

import dataclasses
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError
from sinkscope.planning.machine import this_machine
from sinkscope.training.recipe import OptimizerConfig, Recipe
from sinkscope.vscale import attach_


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A freshly initialized model of the recipe's shape, with V-scale where the recipe has it.

    The random state decides the weights; V-scale draws nothing from it, so twins start from the same weights.
    """
    return model_for(recipe, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)


def model_for(recipe: Recipe, vocabulary: int, bos: int | None, eos: int | None) -> LlamaForCausalLM:
    """`build_model` for a vocabulary of which only the size and the special tokens are known."""
    config = LlamaConfig(
        **dataclasses.asdict(recipe.model),
        vocab_size=vocabulary,
        max_position_embeddings=recipe.data.tokens,
        bos_token_id=bos,
        eos_token_id=eos,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation(recipe.attention)
    if recipe.vscale.variant != "none":
        attach_(model, variant=recipe.vscale.variant)
    return model


def refuse_too_large(recipe: Recipe) -> None:
    """Refuses a recipe whose weights alone do not fit this machine's memory, before anything is made for it.

    Raises:
        RequestError: if they do not.
    """
    shape = recipe.model
    attention = 2 * shape.hidden_size * shape.head_dim * (shape.num_attention_heads + shape.num_key_value_heads)
    layer = attention + 3 * shape.hidden_size * shape.intermediate_size
    embeddings = (1 if shape.tie_word_embeddings else 2) * (recipe.tokenizer.vocab_size or 0) * shape.hidden_size
    needed = 4 * (shape.num_hidden_layers * layer + embeddings)  # float32
    free = this_machine().memory
    if needed > free:
        raise RequestError(
            f"recipe {recipe.name}: the weights of [model] need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB "
            "of memory are free: choose a smaller one"
        )


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW over the parameters that are trained; it decays matrices alone."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() >= 2]
    others = [p for p in trained if p.dim() < 2]
    groups = [
        {"params": members, "weight_decay": decay}
        for members, decay in ((matrices, config.weight_decay), (others, 0.0))
        if members
    ]
    if config.name == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit  # type: ignore[attr-defined]  # exported without saying so

        make: Any = AdamW8bit  # untyped
        eight_bit: torch.optim.Optimizer = make(
            groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps
        )
        return eight_bit
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def recompute_activations_(model: PreTrainedModel) -> None:
    """Turns gradient checkpointing on, by the name that the installed transformers has for it."""
    name = "activation_checkpointing_enable"
    enable: Any = getattr(model, name, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
