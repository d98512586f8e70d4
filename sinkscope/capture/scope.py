"""Measuring a user's own forward and backward passes.

    with Scope(model, tokenizer=tokenizer) as scope:
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
    run = scope.run()
    run["heads"]

Several forward passes inside one `with` block are micro-batches of one run: statistics run on over their sequences and
gradients add up, as they do in an optimizer step. The gradients are those of whatever was backpropagated.
"""

import time
from contextlib import ExitStack
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from sinkscope.capture.hooks.blocks import recording
from sinkscope.capture.recorder import Recorder
from sinkscope.capture.settings import Settings
from sinkscope.capture.tables.collect import tables
from sinkscope.capture.tables.collected import Collected
from sinkscope.compat.compiled_module import is_compiled
from sinkscope.errors import SinkscopeError
from sinkscope.intervals.headline_ends import headline_with_intervals
from sinkscope.loading.describe import describe
from sinkscope.models.bare import bare_model
from sinkscope.models.families import family_of
from sinkscope.models.layout import layout_of, not_applicable
from sinkscope.passes.finite import reason
from sinkscope.passes.memory import peak_memory
from sinkscope.provenance.begin import begin
from sinkscope.tables.run_folder import Run
from sinkscope.vscale.attach import attached

CONVENTIONS = {
    "alpha": "mean attention of queries s..s+window-1 on key s, the self term t = s included",
    "sink_rate": "judged per sequence and head, then averaged",
    "gradients": "summed over sequences first, then turned into token-wise l2 norms",
    "q_k_v_gradients": "k and v gradients sum over the query heads of their group",
    "kurtosis": "Pearson (normal: 3), population moments",
    "median": "the lower of the two middle values; per sequence, then the median over sequences",
    "residual_t0_over_early": "ratio of the means over layers; _max is the largest ratio of a single layer",
    "mass_slope": "pairs of single sequences, all layers in one line; interval over sequences",
    "norms": "heads concatenated for q, k, v and y; values per kv head stand in the table `values`",
}


class Scope:
    """Records a model's forward and backward passes while it is entered.

    The hooks are gone and the model's attention implementation is restored when the block ends, also after an
    exception. A model whose parameters are all frozen still yields activation gradients: the output of its embedding is
    made to require them.

    Args:
        model: a causal LM of a known family, without gradient checkpointing; also inside peft or
            DistributedDataParallel. Compiled layers run as they were written meanwhile; a model that is compiled as a
            whole is to be passed, and called, as it was before.
        settings: what to measure.
        tokenizer: names the tokens in the tables; without one they are named by their ids.
        device: where the passes are made; by default the model's.
        first_sequence: where several processes share a run, the number in it of this one's first sequence; their
            recorders are merged before the tables are made. None for a run of this process alone.

    Raises:
        SinkscopeError: for an unknown architecture, a model without a head, one that is compiled as a whole or spread
            over GPUs by DataParallel.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: torch.device | None = None,
        *,
        first_sequence: int | None = None,
    ) -> None:
        _refuse_wrapped(model)
        self.model = bare_model(model)
        self.device = device or self.model.device
        self.settings = settings or Settings()
        self.tokenizer = tokenizer
        self.family = family_of(self.model)
        layers = len(self.family.decoder_layers(self.model))
        images = tuple(getattr(self.model.config, name) for name in self.family.images)
        self.recorder = Recorder(self.settings, layers, layout_of(self.family), image_ids=images, first=first_sequence)
        self._stack = ExitStack()
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        self.recorder.expect(valved=bool(attached(self.model)))
        self.hooks = self._stack.enter_context(recording(self.model, self.family, self.recorder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, *, divisor: float = 1.0, losses: list[float] | None = None, targets: list[int] | None = None) -> Run:
        """The tables of what was recorded.

        Args:
            divisor: divide gradients by this: the number of targets where a summed loss was backpropagated.
            losses: mean loss of each sequence in nats, for the `sequences` table.
            targets: how many targets each of these is the mean over; by default equally many.

        Raises:
            SinkscopeError: if no forward pass, or no backward pass where one was to be measured, happened inside the
                Scope; if a forward pass ended with an exception; if a gradient is not finite.
        """
        self._check()
        self.recorder.in_order()
        valves = [(valve.theta.detach(), valve.C.detach()) for valve in attached(self.model)]
        collected = Collected(self.recorder, divisor, losses or [], targets or [], self._token, valves)
        frames = tables(collected)
        info = begin(
            "analysis",
            model=describe(self.model),
            data=self._data(),
            sink_tokens=_sink_tokens(frames),
            not_applicable=not_applicable(self.family),
            device=str(self.device),
            seconds=time.perf_counter() - self._started,
            peak_memory_bytes=peak_memory(self.device),
            settings=asdict(self.settings),
            conventions=CONVENTIONS,
            headline=headline_with_intervals(frames, self.settings.sink_epsilon),
        )
        return Run(info, frames)

    def _check(self) -> None:
        hooks = getattr(self, "hooks", None)  # of a Scope that was entered
        if hooks is not None:
            hooks.settle()
        if self.recorder.broken:
            raise SinkscopeError(
                "a forward pass inside the Scope ended with an exception, and what was recorded of it is in the "
                "statistics: measure again in a new Scope"
            )
        if not self.recorder.heads:
            raise SinkscopeError("nothing was measured: call the model inside the Scope")
        if not self.settings.backward:
            return
        if not self.recorder.gradients:
            raise SinkscopeError(
                "no gradient arrived: call loss.backward() inside the Scope, or use Settings(backward=False)"
            )
        if self.recorder.without_gradient:
            raise SinkscopeError(
                f"{len(self.recorder.without_gradient)} of {len(self.recorder.batches)} forward passes had no backward "
                "pass: call backward() on the loss of each, or open a Scope for those that are to be measured"
            )
        for (layer, site), gradient in self.recorder.gradients.items():
            if not bool(gradient.norms().isfinite().all()):
                why = reason(self.model)
                raise SinkscopeError(f"non-finite gradients in layer {layer} at site {site}: {why}")

    def _token(self, token_id: int) -> str:
        if self.tokenizer is None or token_id < 0:
            return str(token_id)
        return str(self.tokenizer.convert_ids_to_tokens(token_id))

    def _data(self) -> dict[str, Any]:
        lengths = next(iter(self.recorder.heads.values())).lengths
        return {
            "source": "user",
            "sha256": None,
            "sequences": len(lengths),
            "tokens": max(lengths),
            "bos": None,
            "isolated_documents": False,
            "targets": sum(lengths) - len(lengths),
        }


def _refuse_wrapped(model: nn.Module) -> None:
    """Refuses what would be called and not be seen."""
    if is_compiled(model):
        raise SinkscopeError(
            "a compiled model cannot be measured, its hooks stay silent: pass the model before torch.compile"
        )
    if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
        raise SinkscopeError("DataParallel calls copies of the model: pass, and call, its 'module' instead")


def _sink_tokens(frames: dict[str, Any]) -> list[dict[str, Any]]:
    """For each position with a sink its most frequent token, that token's share, and the number of sinks."""
    positions = []
    for position, group in frames["sinks"].groupby("position"):
        counts = group["token"].value_counts()
        positions.append(
            {
                "position": int(position),
                "token": str(counts.index[0]),
                "share": float(counts.iloc[0] / len(group)),
                "sinks": len(group),
            }
        )
    return positions
