"""`sinkscope.Monitor`: headline numbers every N steps, inside a training loop that is not ours.

    monitor = Monitor(model, tokenizer, every=500, log=accelerator.log)
    for step, batch in enumerate(loader, start=1):
        ...
        optimizer.step()
        monitor.step(step)

A fixed probe of a few windows is measured by one forward pass and one backward pass to the activations, exactly as
`sinkscope.analyze` would measure a checkpoint saved at that step. Training is not touched: weights, their gradients,
modes, random numbers and compiled code are what they would be without a monitor. Between measurements no hook is on
the model, and a step costs one comparison of numbers.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.analysis.measure import measure
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import TextSource
from sinkscope.keywords import text_source
from sinkscope.models.bare import bare_model, refuse_sharded
from sinkscope.models.families import family_of
from sinkscope.models.shape import default_tokens
from sinkscope.monitoring.logged import logged
from sinkscope.monitoring.unwrap import undisturbed
from sinkscope.passes.batches import as_windows, check_windows
from sinkscope.tables.builder import Rows
from sinkscope.terminal import logger
from sinkscope.text.documents import Document
from sinkscope.text.sources import open_text
from sinkscope.text.windows import pack_for

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

EVERY = 500  # steps; what this costs is measured in docs/tracking.md
PROBE_SEQUENCES, PROBE_TOKENS = 4, 256

_log = logger(__name__)


class Monitor:
    """Measures a model while it trains, and hands the numbers to the user's own tracker.

    Three ways to use it: `callback(trainer)` for a transformers Trainer; `step(n)` in a loop of one's own, as
    accelerate's; `following(optimizer)` around a loop that is not to be changed.

    The numbers are those that `sinkscope.quantities` declares as monitored; docs/tracking.md lists them, and their
    definitions are in docs/definitions.md. A probe is small, so its numbers compare with those of the same probe at
    other steps, and only roughly with an analysis on more text.

    Args:
        model: a causal LM of a known family; also inside `torch.compile`, DistributedDataParallel or peft. It is
            measured in the dtype of its weights.
        tokenizer: makes the probe from `data`; not needed with `input_ids`.
        every: N, in optimizer steps.
        input_ids: token ids [n, T] of the probe, instead of text.
        data: the probe's text: `stdlib`, a file, a folder or a data set, as `data` of `sinkscope analyze`; or a list
            of texts.
        sequences: n, how many windows of text to take.
        tokens: T; by default the model's context, at most 256.
        bos: `always` or `never` force or forbid a <bos> at the start of each window; `auto` follows the tokenizer.
        batch_size: windows per pass; the numbers do not depend on it.
        settings: what to measure.
        log: called as `log(values, step=step)` with every measurement, as `accelerator.log` and `wandb.log` are.
        prefix: put before the names of the logged numbers.

    Attributes:
        history: what was logged, oldest first: a dict per measurement, its step under `step`. A resumed training may
            put earlier ones back.
        seconds: time spent measuring so far.

    Raises:
        SinkscopeError: for an unknown architecture, sharded parameters, or a probe that the model cannot read.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        every: int = EVERY,
        input_ids: ArrayLike | None = None,
        data: str | Path | TextSource | Sequence[str] = "stdlib",
        sequences: int = PROBE_SEQUENCES,
        tokens: int | None = None,
        bos: str = "auto",
        batch_size: int = PROBE_SEQUENCES,
        settings: Settings | None = None,
        log: Callable[..., Any] | None = None,
        prefix: str = "sinkscope/",
    ) -> None:
        if every < 1:
            raise RequestError("a Monitor measures every N steps, N at least 1")
        self.model = bare_model(model)
        family_of(self.model)
        self.every = every
        self.prefix = prefix
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._tokenizer = tokenizer
        self._settings = settings or Settings(positions=Settings.early + 1)
        self._batch_size = batch_size
        self._log = log
        self._steps = 0
        self._measured: int | None = None
        if input_ids is None:
            input_ids = _probe(self.model, tokenizer, data, sequences, tokens, bos)
        self._input_ids = as_windows(input_ids).clone()
        check_windows(self.model, self._input_ids, batch_size)

    def step(self, step: int | None = None) -> dict[str, float] | None:
        """To be called after every optimizer step; measures at every N-th.

        Args:
            step: optimizer steps done; by default the calls are counted. A number that comes again, as under gradient
                accumulation, is measured once.

        Returns:
            The numbers by name, prefixed, where the step was measured; else None. Of several processes the first
            measures.

        Raises:
            SinkscopeError: if the first measurement fails. Later ones, in a training under way, are left out with a
                warning.
        """
        self._steps = self._steps + 1 if step is None else step
        return None if self._steps % self.every else self.measure(self._steps)

    def measure(self, step: int) -> dict[str, float] | None:
        """Measures now, whatever the step; returns and raises as `step`."""
        if step == self._measured or not _is_first_process():
            return None
        started = time.perf_counter()
        try:
            refuse_sharded(self.model)
            with undisturbed(self.model):
                run = measure(
                    self.model,
                    self._input_ids,
                    settings=self._settings,
                    batch_size=self._batch_size,
                    tokenizer=self._tokenizer,
                )
        except SinkscopeError as error:
            if self._measured is None:
                raise
            _log.warning("step %d is not measured: %s", step, error)
            return None
        finally:
            self.seconds += time.perf_counter() - started
        self._measured = step
        values = {self.prefix + name: value for name, value in logged(run).items()}
        self.history.append({"step": step, **values})
        if self._log is not None:
            self._log(values, step=step)
        return values

    def callback(self, trainer: "Trainer") -> "TrainerCallback":
        """A callback that logs through a transformers Trainer, to whatever `report_to` names.

            trainer.add_callback(monitor.callback(trainer))

        It measures before the first step, every N steps and at the last one.

        Raises:
            SinkscopeError: if the trainer trains another model than the monitor watches.
        """
        from sinkscope.monitoring.trainer import MonitorCallback

        return MonitorCallback(self, trainer)

    @contextmanager
    def following(self, optimizer: torch.optim.Optimizer) -> "Iterator[Monitor]":
        """Counts the steps of an optimizer while entered, so that the loop inside stays as it is.

        Measures on entry, every N steps, and at the end unless an exception ends it.

        Args:
            optimizer: a torch optimizer, also as prepared by accelerate.
        """

        def count(*_: Any) -> None:
            self.step()

        stepped: Any = getattr(optimizer, "optimizer", optimizer)
        hook = stepped.register_step_post_hook(count)
        try:
            self.measure(self._steps)
            yield self
            self.measure(self._steps)
        finally:
            hook.remove()

    def frame(self) -> pd.DataFrame:
        """What was logged, as the table `monitor` of docs/tables.md: step, metric (without prefix) and value."""
        rows = Rows("monitor")
        for entry in self.history:
            values = {name.removeprefix(self.prefix): value for name, value in entry.items() if name != "step"}
            rows.add(step=int(entry["step"]), metric=list(values), value=list(values.values()))
        return rows.frame()


def _probe(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    data: str | Path | TextSource | Sequence[str],
    sequences: int,
    tokens: int | None,
    bos: str,
) -> Tensor:
    if isinstance(data, str | Path | TextSource):
        documents = open_text(text_source(data))
    else:
        documents = iter([Document(str(number), text) for number, text in enumerate(data)])
    if tokens is None:
        tokens = default_tokens(model.config, PROBE_TOKENS)
    return pack_for(model, tokenizer, documents, sequences, tokens, bos).input_ids


def _is_first_process() -> bool:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0
