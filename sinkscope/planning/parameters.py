"""A model's weights counted on the meta device: how many, where, and how many bytes in a dtype or quantized.

The model is built from its configuration by transformers itself, so the counts are right for every architecture that it
knows; nothing is allocated.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel

from sinkscope.errors import SinkscopeError, first_line
from sinkscope.loading.quiet import quiet
from sinkscope.models.families import FAMILIES
from sinkscope.planning.trace import PLANNED, shapes_only

_NF4_BLOCK = 64  # weights that share a float32 scale in bitsandbytes' 4-bit format


@dataclass(frozen=True)
class Count:
    """How many parameters, their bytes as they are held in memory, and unquantized, as they are stored."""

    parameters: int
    bytes: int
    stored: int


@dataclass(frozen=True)
class Parameters:
    """A model's weights by part.

    Attributes:
        total: everything, a tied head once.
        embedding: the token embedding.
        head: the output projection; the same as `embedding` where `tied`.
        layer: the largest decoder layer.
        layers: number of decoder layers.
        active: parameters that one token passes through, the embedding's table left out.
        tied: whether the head is the embedding.
        largest: bytes of the largest quantized weight once it is expanded for a multiplication; 0 unquantized.
    """

    total: Count
    embedding: Count
    head: Count
    layer: Count
    layers: int
    active: int
    tied: bool
    largest: int


def skeleton(config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """The causal LM of a configuration on the meta device, frozen and in eval mode.

    Args:
        config: the model's configuration.
        dtype: dtype of its weights.

    Raises:
        SinkscopeError: if transformers has no causal LM for it, or its values make none.
    """
    name = config.model_type
    with quiet(), shapes_only():
        family = FAMILIES.get(name)
        auto: Any = AutoModelForImageTextToText if family is not None and family.images else AutoModelForCausalLM
        try:
            model = auto.from_config(config, dtype=dtype, attn_implementation=PLANNED)
        except Exception as first:  # an architecture that does not use the attention interface, or a broken config
            try:
                model = auto.from_config(config, dtype=dtype, attn_implementation="sdpa")
            except Exception:
                raise SinkscopeError(
                    f"transformers makes no causal LM of this '{name}': {first_line(first)}"
                ) from first
    result: PreTrainedModel = model.requires_grad_(False).eval()
    return result


def decoder_of(model: PreTrainedModel) -> tuple[nn.Module, list[nn.Module]]:
    """The decoder of any causal LM and its layers: as its family says, else the longest list of modules in it.

    Raises:
        SinkscopeError: if it has none.
    """
    if model.config.model_type in FAMILIES:
        family = FAMILIES[model.config.model_type]
        return family.decoder(model), family.decoder_layers(model)
    decoder: nn.Module = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise SinkscopeError(f"no decoder layers found in architecture '{model.config.model_type}'")
    longest: nn.ModuleList = max(lists, key=lambda modules: len(modules))
    return decoder, list(longest)


def count(model: PreTrainedModel, layers: list[nn.Module], quantize: str | None) -> Parameters:
    """Counts a model's weights.

    Args:
        model: on the meta device, in the dtype that it is to run in.
        layers: its decoder layers.
        quantize: `nf4`, `int8` or None: how the weights of linear modules are held; the head never is quantized.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    kept = {id(module) for module in (embedding, head)}
    quantized = {
        id(module.weight)
        for module in model.modules()
        if quantize and isinstance(module, nn.Linear) and id(module) not in kept
    }

    def counted(module: nn.Module | None) -> Count:
        own = [] if module is None else list(module.parameters())
        held = sum(_bytes(p, quantize if id(p) in quantized else None) for p in own)
        return Count(sum(p.numel() for p in own), held, sum(_bytes(p, None) for p in own))

    tied = head is not None and head.weight is embedding.weight
    table = counted(embedding)
    total = counted(model)
    expanded = [p.numel() * p.element_size() for p in model.parameters() if id(p) in quantized]
    return Parameters(
        total=total,
        embedding=table,
        head=counted(head),
        layer=max([counted(layer) for layer in layers], key=lambda part: part.bytes),
        layers=len(layers),
        active=total.parameters - (0 if tied else table.parameters) - _idle(model),
        tied=tied,
        largest=max(expanded, default=0),
    )


def _bytes(parameter: torch.Tensor, quantize: str | None) -> int:
    numbers = parameter.numel()
    if quantize == "nf4":
        return numbers // 2 + 4 * -(-numbers // _NF4_BLOCK)
    if quantize == "int8":
        return numbers + 4 * len(parameter)
    return numbers * parameter.element_size()


def _idle(model: PreTrainedModel) -> int:
    """Parameters of the experts that one token is not sent to."""
    text: Any = model.config.get_text_config()
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((value for name in names if (value := getattr(text, name, None))), 0)
    chosen = getattr(text, "num_experts_per_tok", None) or getattr(text, "top_k_experts", None) or experts
    if not isinstance(experts, int) or not isinstance(chosen, int) or not experts:
        return 0
    stacked = sum(p.numel() for p in model.parameters() if p.dim() == 3 and len(p) == experts)
    return stacked * (experts - chosen) // experts
