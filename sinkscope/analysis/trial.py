"""What the passes of an analysis take, measured on the loaded model before the first of them.

A pass through all layers would be a good part of a short analysis. But layers of one kind cost the same, and the output
head costs the same per token. So the first layers alone are run, forward and backward under the hooks of the real
thing, on a micro-batch of the length that was asked for; the head is run on one chunk of tokens, as many as it takes at
once; and both are multiplied up. Column sums are taken as they are in a model with late sinks; another sweep, for what
the first passes lacked, is not reckoned with. That costs about a thirtieth of a sequence, holds for a head of 256,000
words as well as for attention over long sequences, and tells what each driver does: a streamed layer is read from its
file here too. Nothing that is measured here goes into any table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.capture.statistics.head_statistics import HeadStatistics
from sinkscope.loading.streamed import HEAD, Held
from sinkscope.models.families import family_of
from sinkscope.models.first_layers import first_layers, sample_size
from sinkscope.models.taps.experts_tap import computed_alike
from sinkscope.passes.batches import Batch, batches_of
from sinkscope.passes.modes import frozen, input_device
from sinkscope.passes.trial import now, seconds_of_head, timed

_WARMING = 16  # tokens of a pass before those that are timed
TABLES = "making tables"  # the stage


@dataclass(frozen=True)
class PassTimes:
    """Seconds at one length.

    Attributes:
        body: of a micro-batch through all layers, forward and back, with statistics.
        head: of the output head on a micro-batch.
        reading: of weights from disk, once for all micro-batches.
        tables: of making the tables of one sequence; they hardly grow with more of them.
    """

    body: float
    head: float
    reading: float
    tables: float


class Trial:
    """Measures lengths, each once.

    Args:
        model: the model, or the skeleton of a streamed one.
        driver: what will make the passes.
        settings: what they measure.
        input_ids: token ids of one micro-batch [B, T], of the longest length that will be asked for.
    """

    def __init__(
        self, model: PreTrainedModel, driver: Resident | LayerByLayer, settings: Settings, input_ids: Tensor
    ) -> None:
        self.model = model
        self.driver = driver
        self.settings = settings
        self.input_ids = input_ids
        self.spent = 0.0
        self._layers = len(family_of(model).decoder_layers(model))
        self._sample = sample_size(model)
        self._known: dict[int, PassTimes] = {}

    def at(self, tokens: int) -> PassTimes:
        """The times at a length."""
        if tokens not in self._known:
            started = now()
            if not self._known:
                self._measure(min(_WARMING, tokens))  # the first pass loads kernels
            self._known[tokens] = self._measure(tokens)
            self.spent += now() - started
        return self._known[tokens]

    def seconds(self, sequences: int, tokens: int, processes: int = 1) -> dict[str, float]:
        """Seconds by stage of the analysis of so many sequences."""
        times = self.at(tokens)
        share = -(-sequences // processes)
        batches = -(-share // len(self.input_ids))
        unit = "sequence" if len(self.input_ids) == 1 else "pass"
        return {unit: batches * (times.body + times.head) + times.reading, TABLES: times.tables}

    def _measure(self, tokens: int) -> PassTimes:
        batch = batches_of(self.input_ids[:, :tokens], None, len(self.input_ids))[0]
        early = min(self.settings.early, tokens - 1)
        settings = replace(self.settings, early=early, positions=max(min(self.settings.positions, tokens), early + 1))
        scale = self._layers / self._sample
        with frozen(self.model), computed_alike(self.model):
            head = self._head(batch)
            read_layer, read_head = self._reading()
            with first_layers(self.model, self._sample):
                scope = Scope(self.model, settings, None, self.driver.device)
                scope.recorder.sequences = 2 * len(batch.input_ids)
                for layer in range(self._sample):
                    scope.recorder.heads[layer] = HeadStatistics(settings, suspected=True)
                if isinstance(self.driver, Resident):
                    body = timed(lambda: _through_layers(self.model, scope, batch))
                else:
                    sweeps = 2 if settings.backward else 1
                    whole = timed(lambda: self.driver.sweep(scope, [batch]))
                    body = max(whole - head - read_head - sweeps * self._sample * read_layer, 0.1 * whole)
                tables = timed(lambda: scope.run(divisor=1.0, losses=[0.0] * len(batch.input_ids)))
        sweeps = 2 if settings.backward else 1
        reading = sweeps * self._layers * read_layer + read_head
        return PassTimes(scale * body, head, reading, scale * tables)

    def _head(self, batch: Batch) -> float:
        rows, tokens = batch.input_ids.shape
        with self._head_loaded():
            return seconds_of_head(self.model, rows, tokens, backward=self.settings.backward)

    @contextmanager
    def _head_loaded(self) -> Iterator[None]:
        if isinstance(self.driver, Resident):
            yield
            return
        with self.driver.weights.loaded(HEAD):
            yield

    def _reading(self) -> tuple[float, float]:
        """Seconds that a layer and the head take to be brought into memory."""
        if isinstance(self.driver, Resident) or isinstance(self.driver.weights, Held):
            return 0.0, 0.0
        return self._streamed_reading

    @cached_property
    def _streamed_reading(self) -> tuple[float, float]:
        assert not isinstance(self.driver, Resident)  # noqa: S101  (it reads nothing)
        weights = self.driver.weights

        def bring(part: int | str) -> None:
            with weights.loaded(part):
                pass

        return timed(lambda: bring(0)), timed(lambda: bring(HEAD))


def _through_layers(model: PreTrainedModel, scope: Scope, batch: Batch) -> None:
    """A micro-batch through the decoder as it is now, and back with a gradient of the right size."""
    with scope, torch.set_grad_enabled(scope.settings.backward):
        decoded = family_of(model).decoder(model)(input_ids=batch.input_ids.to(input_device(model)), use_cache=False)
        hidden = decoded.last_hidden_state
        if scope.settings.backward:
            hidden.backward(torch.ones_like(hidden))
