"""Bytes that each driver needs, as a sum of named parts.

    resident          weights + activations of one micro-batch's graph + statistics
    layer by layer    weights + activations of one layer's graph + boundary states + statistics
    streamed          one part's weights + activations of one layer's graph + boundary states + statistics

Activations come from `planning.trace`; what the capture adds to them is counted here. Every part errs on the large
side: a driver that is chosen must not run out of memory. Boundary states are one hidden state per layer boundary and
micro-batch and one gradient on its way back; they lie in the process's memory, or on disk where they are spilled.

Shapes: B sequences of T tokens per micro-batch, N in all, V the vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from sinkscope.capture.settings import Settings
from sinkscope.capture.statistics.gradient_statistics import MAX_BLOCKS
from sinkscope.capture.statistics.site_statistics import listed
from sinkscope.errors import first_line
from sinkscope.names import LAYER_BY_LAYER, RESIDENT, STREAMED
from sinkscope.passes.output_head import CHUNK
from sinkscope.planning.parameters import Count, Parameters
from sinkscope.planning.trace import Trace, trace

# Set so that measured peaks of small models lie below the estimate, by less than a half.
_SCRATCH = 40 * 2**20  # blocks of attention weights and of moments, whose size does not depend on the model
_FRAGMENTED = 1.5  # freed memory that the allocator cannot hand out again


@dataclass(frozen=True)
class Work:
    """What is to be analyzed.

    Attributes:
        sequences: N.
        tokens: T of each.
        batch_size: B.
        settings: what is measured.
    """

    sequences: int
    tokens: int
    batch_size: int
    settings: Settings

    @property
    def micro_batch(self) -> int:
        """Sequences that really are in one micro-batch."""
        return min(self.batch_size, self.sequences)


@dataclass(frozen=True)
class Need:
    """Bytes that a driver needs.

    Attributes:
        weights: held at a time.
        activations: of the graph that is alive, its gradients, and the logits.
        statistics: of the whole run, and the temporaries of taking them.
        boundary: states between layers; 0 for the resident driver.
        scratch: what does not depend on the model.
    """

    weights: int
    activations: int
    statistics: int
    boundary: int
    scratch: int

    @property
    def computing(self) -> int:
        """Where the model computes: everything but the boundary states."""
        return self.weights + self.activations + self.statistics + self.scratch

    @property
    def total(self) -> int:
        """In one memory, boundary states included."""
        return self.computing + self.boundary


def needs(traced: Trace, parameters: Parameters, model: PreTrainedModel, work: Work) -> dict[str, Need]:
    """What every driver needs, by its name.

    Args:
        traced: the activations of one micro-batch.
        parameters: the weights.
        model: on the meta device, in the dtype that it is to run in.
        work: what is to be analyzed.
    """
    B, T = work.micro_batch, work.tokens
    vocabulary = int(model.config.get_text_config().vocab_size)
    vectors, numbers = _statistics(model, work)
    at_once = {RESIDENT: parameters.layers, LAYER_BY_LAYER: 1, STREAMED: 1}  # layers whose gradient vectors are held
    taking = B * T * traced.widest * (8 + model.dtype.itemsize)  # |x| and its float32 copy, and what the median selects
    norms = (
        2 * traced.state if model.dtype.itemsize == 2 else 0
    )  # inputs that the norms' hooks hold beside float32 ones
    logits = B * T * vocabulary
    chunk = min(logits, CHUNK) * (4 * 4 + model.dtype.itemsize) + 3 * traced.state
    whole = max(traced.peak, traced.saved + max(taking, chunk)) + parameters.layers * norms
    one_layer = max(traced.layer_peak + taking + norms, chunk) + 2 * traced.state + parameters.largest
    batches = -(-work.sequences // B)
    states = parameters.layers + 1 if work.settings.backward else 2
    boundary = batches * ((states + 1) * traced.state + traced.arguments)
    part = max(_held(part) for part in (parameters.layer, parameters.head, parameters.embedding))
    rows = {
        RESIDENT: (parameters.total.bytes, whole + parameters.largest, 0),
        LAYER_BY_LAYER: (parameters.total.bytes, one_layer, boundary),
        STREAMED: (part, one_layer, boundary),
    }
    return {
        driver: Need(
            weights,
            int(activations * _FRAGMENTED),
            at_once[driver] * vectors + parameters.layers * numbers,
            states,
            _SCRATCH,
        )
        for driver, (weights, activations, states) in rows.items()
    }


def _held(part: Count) -> int:
    """Bytes of a streamed part: as it runs, and where that differs as it is stored, from which it is made."""
    return part.bytes + (part.stored if part.stored != part.bytes else 0)


def activations(
    model: PreTrainedModel, decoder: nn.Module, layers: list[nn.Module], work: Work
) -> tuple[Trace, str | None]:
    """The activations of one micro-batch, and a warning where they could only be bounded from the weights' shapes."""
    B, T = work.micro_batch, work.tokens
    try:
        return trace(model, decoder, layers, B, T, backward=work.settings.backward), None
    except Exception as error:  # an architecture's own code, which may look at contents that are not there
        why = first_line(error)
        return bounded(model, layers, work), f"activations are a rough bound from the weights' shapes ({why})"


def bounded(model: PreTrainedModel, layers: list[nn.Module], work: Work) -> Trace:
    """A generous bound on the activations, for architectures that cannot be followed on the meta device.

    Every linear module's output is counted three times (before and after a nonlinearity, and its gradient), and twelve
    hidden states in float32 per layer.
    """
    B, T = work.micro_batch, work.tokens
    config: Any = model.config.get_text_config()
    size, D = model.dtype.itemsize, int(config.hidden_size)
    outputs = [[m.out_features for m in layer.modules() if isinstance(m, nn.Linear)] for layer in layers]
    of_layers = [B * T * (3 * size * sum(widths) + 12 * 4 * D) for widths in outputs]
    state = B * T * D * size
    return Trace(
        saved=sum(of_layers),
        peak=sum(of_layers) + max(of_layers),
        layer_peak=2 * max(of_layers),
        state=state,
        arguments=4 * state,
        widest=max(max(widths, default=D) for widths in outputs),
        attention_pairs=len(layers) * B * D * T * (T + 1) // 2,
    )


def _statistics(model: PreTrainedModel, work: Work) -> tuple[int, int]:
    """Bytes of a layer's reductions: of its gradient sums and blocks, and of what every head has per position."""
    config: Any = model.config.get_text_config()
    settings, T = work.settings, work.tokens
    D, heads = int(config.hidden_size), int(getattr(config, "num_attention_heads", None) or 1)
    inner = int(getattr(config, "intermediate_size", None) or 4 * D)
    positions, early = min(listed(settings.positions), T), min(settings.early + 1, T)
    gradients = 4 * positions * (12 * D + inner) + 4 * min(MAX_BLOCKS, work.sequences) * early * D
    per_position = 8 * T * (6 * heads + 60)
    return gradients if settings.backward else 0, per_position


def dtype_of(name: str, config: Any) -> torch.dtype:
    """The dtype that a model runs in: the named one, or with `auto` that of its configuration, else float32."""
    wanted = (getattr(config.get_text_config(), "dtype", None) or config.dtype) if name == "auto" else name
    dtype = wanted if isinstance(wanted, torch.dtype) else getattr(torch, str(wanted or "float32"))
    return dtype if isinstance(dtype, torch.dtype) else torch.float32
