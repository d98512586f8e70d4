"""Architectures as rows of data.

A row says where the measured sites of a decoder layer live, as module paths relative to the layer. Meaning is mapped,
not names: `post_attention_layernorm` is the MLP branch's pre-norm in Llama and something else in other families, so an
architecture without a row is an error that lists the known ones, never a guess.
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.models.experts import Experts


@dataclass(frozen=True)
class Family:
    """Where a pre-norm architecture keeps its sites.

    Attributes:
        model_type: `config.model_type` of transformers.
        layers: path of the list of decoder layers, from the causal LM.
        final_norm: path of the final norm, from the causal LM.
        attention_norm: norm of the attention branch: its input is h_in, its output hn.
        attention: attention module, the one that calls the attention interface; its output is r_attn.
        value: value projection inside the layer.
        mlp_norm: norm of the MLP branch: its input is h_half, its output hn2.
        mlp: MLP module; its output is r_mlp.
        down: down projection inside the layer; its input is down_in.
        gain_offset: added to the norm's weight to give its effective gain (Gemma stores gain - 1).
        experts: where mixture-of-experts layers keep their parts; None for dense families.
    """

    model_type: str
    layers: str = "model.layers"
    final_norm: str = "model.norm"
    attention_norm: str = "input_layernorm"
    attention: str = "self_attn"
    value: str = "self_attn.v_proj"
    mlp_norm: str = "post_attention_layernorm"
    mlp: str = "mlp"
    down: str = "mlp.down_proj"
    gain_offset: float = 0.0
    experts: Experts | None = None

    def decoder_layers(self, model: nn.Module) -> list[nn.Module]:
        """The decoder layers of a model of this family, first to last."""
        return list(model.get_submodule(self.layers).children())

    def gain(self, norm: nn.Module) -> Tensor:
        """Effective gain gamma of one of the family's RMSNorms, float32 [D]."""
        return cast("Tensor", norm.weight).detach().float() + self.gain_offset

    def epsilon(self, norm: nn.Module) -> float:
        """The epsilon inside one of the family's RMSNorms."""
        return cast("float", norm.variance_epsilon)


FAMILIES = {
    row.model_type: row
    for row in (
        Family("llama"),
        Family("mistral"),
        Family("qwen2"),
        Family("qwen3"),
        Family("mixtral", experts=Experts()),
        Family("olmoe", experts=Experts()),
        Family("qwen2_moe", experts=Experts(shared="mlp.shared_expert.down_proj")),
        Family("qwen3_moe", experts=Experts()),
    )
}


def family_of(model: PreTrainedModel) -> Family:
    """The row of a model.

    Raises:
        SinkscopeError: for an unknown architecture; the message lists the known ones.
    """
    model_type = model.config.model_type
    if model_type not in FAMILIES:
        raise SinkscopeError(
            f"architecture `{model_type}` is not supported; known: {', '.join(sorted(FAMILIES))}", exit_code=2
        )
    return FAMILIES[model_type]
