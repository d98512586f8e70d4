"""transformers' own quantized cache, through which a model generates: what it needs, and what `generate` is given.

It is not this project's rounding (`rounding`), and is measured as what it is:

- The prompt is read with exact keys and values, which are rounded once it has been read; the first token that is
  written therefore owes nothing to the cache. Later tokens stand exact beside the rounded ones until `window` of them
  have come. Then all keys and values are rounded anew, those that were rounded before once more.
- `quanto` gives neighbouring channels of one token a scale and a zero, of keys as of values; so its values round as
  this project's do under groups of the same size, and its keys, whose outliers stand in few channels, do not.
- `fp8` gives all of a layer's keys one scale to E4M3, and all of its values another, from the prompt's largest.

No token is kept exact for good, sinks no more than others.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from transformers import PreTrainedModel, QuantizedCache

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.methods.grammar import GeneratingCache
from sinkscope.models.families import family_of
from sinkscope.models.shape import shape_of


@dataclass(frozen=True)
class GenerationCache:
    """A cache that `generate` fills; weights, activations and whole passes stay as they are."""

    of: GeneratingCache

    @property
    def granularity(self) -> str:
        """Bits, groups, and what stays exact, in words."""
        if self.of.group is None:
            return "K and V of what was generated from: E4M3, a scale per layer"
        return (
            f"K and V of what was generated from: {self.of.bits} bits per token, groups of {self.of.group}, up to "
            f"{self.of.window} recent tokens exact"
        )

    @property
    def options(self) -> dict[str, Any]:
        """What transformers' cache of this kind is made with, beside the model's configuration."""
        if self.of.group is None:
            return {"backend": self.of.backend}
        return {
            "backend": self.of.backend,
            "nbits": self.of.bits,
            "axis_key": 0,
            "axis_value": 0,
            "q_group_size": self.of.group,
            "residual_length": self.of.window,
        }

    def refuse(self) -> None:
        """Refuses a cache whose library is missing.

        Raises:
            SinkscopeError: naming what installs it.
        """
        if self.of.backend == "quanto" and (find_spec("optimum") is None or find_spec("optimum.quanto") is None):
            raise SinkscopeError(f"{self.of.name} needs optimum-quanto: pip install 'sinkscope[quanto]'")

    def check(self, model: PreTrainedModel) -> None:
        """Refuses a model whose cache transformers does not quantize so.

        Raises:
            SinkscopeError: for layers without full attention, or a head that groups do not divide.
        """
        width = shape_of(family_of(model), model.config).head_dim
        if self.of.group is not None and width % self.of.group:
            raise SinkscopeError(f"{self.of.name} rounds in groups of {self.of.group}, which do not divide the {width} "
                                 f"channels of a head: choose -g{width}, or what divides it")  # fmt: skip
        try:
            QuantizedCache(config=model.config, **self.options)
        except ValueError as error:
            first = str(error).strip().splitlines()[0]
            raise RequestError(f"{self.of.name} is no cache for this model: {first}") from error
