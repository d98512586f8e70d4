"""A model whose attention reads a cache of few bits.

with CacheProbe(rounding).entered(model):
    loss = ...      # as if the text had been decoded token by token from such a cache

One pass over a whole sequence does: each query sees the keys and values behind their rotation as the cache would have
held them when its token came. The cache keeps values before V-scale, which is put on what was read. Nothing is saved in
memory: what is measured is the loss.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.interventions.attention import attention_edited
from sinkscope.methods.cache.attention import RoundedCache
from sinkscope.methods.grammar import CacheRounding
from sinkscope.models.families import family_of
from sinkscope.models.family import Feature
from sinkscope.models.shape import shape_of
from sinkscope.models.taps.edits import AttentionEdit


@dataclass(frozen=True)
class CacheProbe:
    """Keys and values of few bits; weights and activations stay as they are."""

    rounding: CacheRounding

    @property
    def granularity(self) -> str:
        """Bits, groups, and what stays exact, in words."""
        how = self.rounding
        exact = [f"{how.sinks} first" if how.sinks else "", f"{how.window} recent" if how.window else ""]
        kept = " and ".join(part for part in exact if part)
        return f"K {how.key_bits} bits per channel, V {how.value_bits} bits per token, groups of {how.group}" + (
            f", {kept} tokens exact" if kept else ""
        )

    def check(self, model: PreTrainedModel) -> None:
        """Refuses a model whose cache is another one.

        Raises:
            SinkscopeError: for latent attention, or a head that groups do not divide.
        """
        family = family_of(model)
        if Feature.LATENT in family.features:
            raise SinkscopeError(f"{self.rounding.name} rounds keys and values, and a '{family.model_type}' caches "
                                 "neither but a latent vector")  # fmt: skip
        width, group = shape_of(family, model.config).head_dim, self.rounding.group
        if width % group:
            raise SinkscopeError(f"{self.rounding.name} rounds values in groups of {group}, which do not divide the "
                                 f"{width} channels of a head: choose -g{width}, or what divides it")  # fmt: skip

    def entered(self, model: PreTrainedModel) -> AbstractContextManager[None]:
        """The model with the cache rounded in every layer, while entered."""
        self.check(model)
        edit = AttentionEdit(rounded=RoundedCache(self.rounding))
        return attention_edited(model, dict.fromkeys(range(len(family_of(model).decoder_layers(model))), edit))
