"""What a row says about an architecture: the vocabulary of `sinkscope.models.families`.

Everything is data: paths of modules, names of configuration values, and the cases in which a configuration changes
them. The measuring code reads fields and never asks which architecture it has before it.

A branch takes its input from the residual stream, through a norm or not, and something of it is added to the stream:

    pre-norm     h + f(N(h))            sandwich      h + P(f(N(h)))
    post-norm    h + P(f(h))            stream-norm   P(h + f(h))

Branches follow one another, or both read the same h (parallel). The branch outputs r_attn and r_mlp are what is added,
so P(f(..)) where there is a post-norm, times the residual multiplier where there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from sinkscope.errors import RequestError
from sinkscope.models.routing import Experts

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Norm:
    """How a family's norms compute y = gamma * x / rms(x), or the same of x - mean(x), plus a bias.

    Attributes:
        centered: LayerNorm, which subtracts the mean; otherwise RMSNorm.
        gain_offset: added to a norm's weight to give gamma (Gemma stores gamma - 1).
        epsilon: the norm module's attribute that holds epsilon, or epsilon itself where no attribute does.
    """

    centered: bool = False
    gain_offset: float = 0.0
    epsilon: str | float = "variance_epsilon"

    @property
    def name(self) -> str:
        """The norm in words."""
        return ("LayerNorm" if self.centered else "RMSNorm") + (" (1 + weight)" if self.gain_offset else "")


class Feature(StrEnum):
    """What is particular about an architecture, in words for lists; attention as it is tapped honours all of them."""

    QK_NORM = "q/k norms"
    SLIDING = "sliding layers"
    CHUNKED = "chunked layers"
    SOFTCAP = "softcap"
    NOPE = "layers without rotary embedding"
    LEARNED_POSITIONS = "learned positions"
    FUSED_QKV = "fused qkv"
    FUSED_GATE = "fused gate and up"
    MULTI_QUERY = "multi-query"
    SINKS = "learned sinks"
    LATENT = "latent attention"
    EXPERTS = "experts"
    IMAGES = "image tokens"


@dataclass(frozen=True)
class Case:
    """What a family does differently under some configurations.

    Attributes:
        when: configuration values, all of which must be as given.
        then: fields of the row that take another value; empty where `refused` is given.
        refused: why such a model is not measured.
    """

    when: Mapping[str, Any]
    then: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""

    def holds(self, config: Any) -> bool:
        """Whether a configuration, an object or a parsed config.json, is such a case."""
        values = [config.get(n) if isinstance(config, Mapping) else getattr(config, n, None) for n in self.when]
        return values == list(self.when.values())


@dataclass(frozen=True)
class Family:
    """One architecture. The defaults are Llama's.

    Paths of `layers`, `reader`, `final_norm` and `projection` count from the causal LM, all others from a decoder
    layer.

    Attributes:
        model_type: `config.model_type` of transformers.
        layers: the list of decoder layers.
        reader: the decoder, as the head calls it, which is given token ids; None for the parent of `layers`.
        final_norm: the norm before the output head; None where there is none.
        projection: module between that norm, or the last layer, and the output head, where a model has one.
        attention_norm: norm that the attention branch reads the stream through; None where it reads the stream itself.
        attention: attention module, the one that calls the attention interface.
        attention_post_norm: norm of the attention's output before it is added; None where there is none.
        attention_dropout: module that drops out the branch output before it is added, where dropout is a module there.
        mlp_norm: norm that the MLP branch reads the stream through; the attention's own path where both read through
            one norm; None where it reads the stream itself.
        mlp_in: module whose input is the MLP's; None for `mlp`.
        mlp: module whose output is the MLP's.
        mlp_post_norm: norm of the MLP's output before it is added.
        mlp_dropout: as `attention_dropout`.
        down: down projection of the MLP; its input is down_in. None where no module is it, and without effect in a
            layer whose MLP is a mixture of experts.
        experts: where mixture-of-experts layers keep their parts; None for dense families.
        parallel: both branches read the stream that enters the block.
        stream_normed: a norm stands on the stream itself, after each addition.
        residual_multiplier: configuration value that multiplies branch outputs before they are added.
        norm: how the norms compute.
        images: configuration values with the token ids that embeddings of images are put in place of; empty for models
            of text alone. Such a model is loaded with all its towers, and its text tower measured.
        kv_heads: configuration value that gives the number of key/value heads, or that number.
        head_dim: configuration value that gives the channels of a value head; hidden size over heads where it is unset.
        value_input: configuration value that gives the channels that a value is projected from.
        initializer: configuration value that gives the initializer's standard deviation.
        loose_dropouts: configuration values of dropouts that no module applies; training with them cannot be measured.
        isolates: whether documents of one window are kept apart by restarting position ids.
        intercepted: attention that goes past transformers' interface, straight to torch's fused attention.
        no_valve: why V-scale cannot be put on it; empty where it can.
        features: what is particular about it.
        notes: a remark for people.
        cases: what its configuration changes; `resolved` applies them.
    """

    model_type: str
    layers: str = "model.layers"
    reader: str | None = None
    final_norm: str | None = "model.norm"
    projection: str | None = None
    attention_norm: str | None = "input_layernorm"
    attention: str = "self_attn"
    attention_post_norm: str | None = None
    attention_dropout: str | None = None
    mlp_norm: str | None = "post_attention_layernorm"
    mlp_in: str | None = None
    mlp: str = "mlp"
    mlp_post_norm: str | None = None
    mlp_dropout: str | None = None
    down: str | None = "mlp.down_proj"
    experts: Experts | None = None
    parallel: bool = False
    stream_normed: bool = False
    residual_multiplier: str | None = None
    norm: Norm = Norm()
    images: tuple[str, ...] = ()
    kv_heads: str | int = "num_key_value_heads"
    head_dim: str = "head_dim"
    value_input: str = "hidden_size"
    initializer: str = "initializer_range"
    loose_dropouts: tuple[str, ...] = ()
    isolates: bool = True
    intercepted: bool = False
    no_valve: str = ""
    features: tuple[Feature, ...] = ()
    notes: str = ""
    cases: tuple[Case, ...] = ()

    def resolved(self, config: Any) -> "Family":
        """The row as it is for one configuration, later cases over earlier ones.

        Raises:
            SinkscopeError: if the configuration is a case that is refused.
        """
        self.check(config)
        changes: dict[str, Any] = {}
        for case in self.cases:
            if case.holds(config):
                changes |= case.then
        return replace(self, cases=(), **changes)

    def check(self, config: Any) -> None:
        """Refuses configurations that are not measured.

        Args:
            config: the configuration, as an object or a parsed config.json.

        Raises:
            SinkscopeError: if it is such a case.
        """
        for case in self.cases:
            if case.refused and case.holds(config):
                condition = ", ".join(f"{name}={value!r}" for name, value in case.when.items())
                raise RequestError(f"'{self.model_type}' with {condition} is not supported: {case.refused}")

    @property
    def shares_norm(self) -> bool:
        """Whether both branches read the stream through one norm."""
        return self.parallel and self.mlp_norm == self.attention_norm

    @property
    def attention_added(self) -> str:
        """Module whose output is added to the stream by the attention branch, but for the multiplier."""
        return self.attention_dropout or self.attention_post_norm or self.attention

    @property
    def mlp_added(self) -> str:
        """Module whose output is added to the stream by the MLP branch, but for the multiplier."""
        return self.mlp_dropout or self.mlp_post_norm or self.mlp

    @property
    def structure(self) -> str:
        """How branches and norms stand to each other, in words."""
        if self.stream_normed:
            return "stream-norm"
        before, after = self.attention_norm is not None, self.attention_post_norm is not None
        kind = {(True, False): "pre-norm", (True, True): "sandwich", (False, True): "post-norm"}[before, after]
        if not self.parallel:
            return kind
        return f"{kind}, parallel" + (", one norm" if self.shares_norm else "")

    def decoder_layers(self, model: "nn.Module") -> "list[nn.Module]":
        """The decoder layers of a model of this family, first to last."""
        return list(model.get_submodule(self.layers).children())

    def behind_layers(self, model: "nn.Module") -> "list[nn.Module]":
        """The modules between the last layer and the output head, in order; a projection may be left out (None)."""
        modules = []
        for path in (self.final_norm, self.projection):
            owner, _, name = (path or "").rpartition(".")
            module = getattr(model.get_submodule(owner), name) if path is not None else None
            modules += [module] if module is not None else []
        return modules

    def decoder(self, model: "nn.Module") -> "nn.Module":
        """What a model's head calls: the module that reads token ids and returns the last hidden states."""
        return model.get_submodule(self.reader or self.layers.rpartition(".")[0])

    def gain(self, norm: "nn.Module") -> "Tensor":
        """Effective gain gamma of one of the family's norms, float32 [D], or [1] where it has no weight."""
        import torch

        weight = cast("Tensor | None", getattr(norm, "weight", None))
        return torch.ones(1, dtype=torch.float32) if weight is None else weight.detach().float() + self.norm.gain_offset

    def epsilon(self, norm: "nn.Module") -> float:
        """The epsilon inside one of the family's norms."""
        epsilon = self.norm.epsilon
        return cast("float", getattr(norm, epsilon)) if isinstance(epsilon, str) else epsilon

    def multiplier(self, config: Any) -> float:
        """The factor on branch outputs before they are added to the stream."""
        return 1.0 if self.residual_multiplier is None else float(getattr(config, self.residual_multiplier))
