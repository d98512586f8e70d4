"""`rotate`: the residual stream in another basis, in which no channel is larger than the others, after QuaRot.

    h' = h Q        Q = diag(random signs) H / sqrt(n)

(Ashkboos et al., arXiv:2404.00456). An RMSNorm without gain commutes with Q, so gains are folded into the maps that
read the norm first. Then every map that reads the stream takes Q in front, every map that writes to it takes Q behind,
and the embedding and the output head do so too (they are untied for it). Values are rotated head by head, and o_proj
back. What down_proj reads is a product of gate and up, which no fixed weight can rotate: there a Hadamard transform is
computed while the model runs, by a hook before the module, and its inverse stands in the weight.

A norm that centres does not commute with Q, and the gain of a norm behind a branch cannot be folded: both are refused.
V-scale depends on the lengths of values, which a rotation keeps.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.methods.probes import Probe
from sinkscope.mitigations.hadamard import Orthogonal, orthogonal, signs
from sinkscope.mitigations.mitigation import Kind, Mitigation, Subject, Variant
from sinkscope.mitigations.structure import blocks_of, obstacle_of, refusal, set_gain_
from sinkscope.models.families import family_of
from sinkscope.models.family import Family
from sinkscope.passes.modes import embedding

_ROWS = 4096  # of a weight that are rotated at once, in float64


@dataclass(frozen=True)
class Rotate(Mitigation):
    """A rotated copy."""

    moves_weights: ClassVar[bool] = True
    unsaved: ClassVar[str] = "rotates what down_proj reads while the model runs"

    @property
    def changes_model(self) -> bool:
        """Weights, and nothing of what is computed."""
        return True

    def refuse(self, model: PreTrainedModel) -> None:
        """Refuses structures that do not commute with a rotation."""
        family = family_of(model)
        obstacle = obstacle_of(model, family) or _obstacle(family)
        if obstacle:
            raise refusal(family, self.name, obstacle)

    def variants(self, subject: Subject, probes: dict[str, Probe]) -> Iterator[Variant]:
        """One rotated copy."""
        model, kinds = rotated(subject.model, subject.seed, self.name)
        yield Variant(model, probes, kinds)


def _obstacle(family: Family) -> str:
    """What does not commute with a rotation of the stream; empty where all does."""
    cases = (
        (family.norm.centered, "its norms subtract the mean"),
        (
            family.attention_post_norm or family.mlp_post_norm,
            "the gains of the norms behind its branches cannot be folded",
        ),
        (family.images, "embeddings of images stand among its tokens"),
        (family.final_norm is None, "no norm stands before its output head"),
        (family.projection is not None, "a projection stands before its output head"),
    )
    return next((words for holds, words in cases if holds), "")


@torch.no_grad()
def rotated(model: PreTrainedModel, seed: int, name: str = "rotate") -> tuple[PreTrainedModel, str]:
    """A rotated copy of a model, and which matrices rotate its stream, its values and what its down projections read.

    Args:
        model: a causal LM with plain linear maps and RMSNorms before its branches.
        seed: of the signs.
        name: of the mitigation, for messages.
    """
    Rotate(name).refuse(model)
    model = copy.deepcopy(model)
    family, blocks = family_of(model), blocks_of(model, name)
    tokens, head = embedding(model), _untied_head(model)
    of_stream = orthogonal(tokens.weight.shape[1], seed)
    of_values, of_down = (orthogonal(width, seed + 1) for width in (blocks[0].head_dim, blocks[0].down.in_features))
    sign = signs(of_stream.width, seed)

    def turn(rows: Tensor) -> Tensor:
        return of_stream.times(rows * sign.to(rows))

    _map_rows_(tokens.weight, turn)
    for block in blocks:
        for norm, readers in block.readers:
            _fold_(norm, readers, family)
            for reader in readers:
                _map_rows_(reader.weight, turn)
        _rotate_values_(block.v, block.o, of_values)
        _map_rows_(block.down.weight, of_down.times)
        block.down.register_forward_pre_hook(_online(of_down))
        for writer in (block.o, block.down):
            writer.weight.data.copy_(turn(writer.weight.data.double().T).T)
            if writer.bias is not None:
                writer.bias.data.copy_(turn(writer.bias.data.double()[None])[0])
    final = model.get_submodule(family.final_norm or "")
    _fold_(final, (head,), family)
    _map_rows_(head.weight, turn)
    return model, f"stream: {of_stream.kind}; values: {of_values.kind}; down_proj: {of_down.kind}"


def _untied_head(model: PreTrainedModel) -> nn.Linear:
    """The output head, with a weight of its own."""
    head = cast("nn.Linear", model.get_output_embeddings())
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False
    return head


def _fold_(norm: nn.Module, readers: tuple[nn.Linear, ...], family: Family) -> None:
    """Moves a norm's gain into the maps that read it."""
    gain = family.gain(norm).double()
    for reader in readers:
        _map_rows_(reader.weight, lambda rows: rows * gain.to(rows.device))
    set_gain_(norm, torch.ones_like(gain, dtype=torch.float32), family)


def _rotate_values_(v: nn.Linear, o: nn.Linear, by: Orthogonal) -> None:
    """V' = v R within every head, and o_proj back."""
    heads = v.weight.data.double().T.reshape(v.in_features, -1, by.width)
    v.weight.data.copy_(by.times(heads).flatten(1).T)
    if v.bias is not None:
        v.bias.data.copy_(by.times(v.bias.data.double().view(-1, by.width)).flatten())
    columns = o.weight.data.double().view(o.out_features, -1, by.width)
    o.weight.data.copy_(by.times(columns).flatten(1))


def _map_rows_(weight: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """Changes the rows of a weight, some at a time, in float64."""
    for rows in weight.data.split(_ROWS):
        rows.copy_(change(rows.double()))


def _online(by: Orthogonal) -> Any:
    """A forward pre-hook that rotates what a module reads; what hooks behind it see is rotated."""

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (by.times(inputs[0]), *inputs[1:])

    return hook


def _make(name: str, argument: str | None) -> Rotate:
    if argument is not None:
        raise ValueError(name)
    return Rotate(name)


KIND = Kind("rotate", "rotate", "residual stream, values and MLP rotated by Hadamard matrices", _make)
