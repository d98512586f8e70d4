"""Processes that are killed or interrupted in a test, or kill themselves at a chosen moment, as targets of `forks`."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forks


def pretrains_and_waits(arguments: list[str]) -> int:
    """`sinkscope pretrain`; but once it is trained it waits to be killed, and does not finish."""
    import sinkscope.pretraining.run as module

    def waits(*_: Any) -> None:
        while True:
            signal.pause()

    module.finish = waits
    return pretrains(arguments)


def pretrains(arguments: list[str]) -> int:
    """`sinkscope pretrain` on as many threads as users have, where tests run on one."""
    import torch

    torch.set_num_threads(max(2, os.cpu_count() or 1))
    return forks.sinkscope(["pretrain", *arguments])


def tells_that_it_reads(arguments: list[str], note: str) -> int:
    """`sinkscope analyze`, which makes a file `note` when it reads its text, and waits there."""
    from sinkscope.text import document_files

    def reads(_: Path) -> Iterator[str]:
        Path(note).touch()
        while True:
            signal.pause()
            yield ""

    document_files._text_of_file = reads
    return forks.sinkscope(["analyze", *arguments])


def tells_what_it_measured(arguments: list[str], note: str) -> int:
    """`sinkscope analyze`, which makes a file `note` once a micro-batch is measured and the next one begins."""
    from sinkscope.analysis.drivers.resident import Resident

    passes, forward_backward = 0, Resident._forward_backward

    def tells(self: Resident, *arguments: Any) -> list[float]:
        nonlocal passes
        passes += 1
        if passes == 2:
            Path(note).touch()
        return forward_backward(self, *arguments)

    Resident._forward_backward = tells  # type: ignore[method-assign]
    return forks.sinkscope(["analyze", *arguments])


def strikes_at_a_save(model: str, text: str, out: str, mode: str, at: int, resume: bool) -> None:
    """Analyzes without a report, saving after every micro-batch.

    Args:
        model: a folder.
        text: a file.
        out: where the run goes.
        mode: when it kills itself: `during` a save, with half of the file written, `after` it, or `never`.
        at: at which save.
        resume: whether to go on with what is there.
    """
    from sinkscope.analysis import journal

    saves, building_file = 0, journal.building_file

    @contextmanager
    def strikes(place: Path) -> Iterator[Path]:
        nonlocal saves
        saves += 1
        with building_file(place) as building:
            yield building
            if (mode, saves) == ("during", at):
                os.truncate(building, building.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        if (mode, saves) == ("after", at):
            os.kill(os.getpid(), signal.SIGKILL)

    journal.building_file = strikes
    _analyze(model, out, resume, data=text, sequences=7)


def strikes_in_a_layer(model: str, out: str, at: int, resume: bool, backward: bool, spill: str) -> None:
    """Analyzes layer by layer without a report, saving after every layer.

    Args:
        model: a folder.
        out: where the run goes.
        at: the layer call in which it kills itself; 0: none.
        resume: whether to go on with what is there.
        backward: whether to measure gradients.
        spill: a folder to spill to; empty for none.

    It writes the number of its layer calls to stdout.
    """
    from sinkscope.analysis.drivers.layer_steps import LayerSteps

    steps, run = 0, LayerSteps.run

    def dies(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(*arguments)

    LayerSteps.run = dies  # type: ignore[method-assign]
    _analyze(model, out, resume, backward=backward, sequences=3, stream=True, spill=spill or None)
    print(steps)


def _analyze(model: str, out: str, resume: bool, backward: bool = True, **options: Any) -> None:
    from sinkscope.analysis import run as api
    from sinkscope.analysis.journal import Journal
    from sinkscope.capture.settings import Settings
    from sinkscope.tables.run_folder import write_run

    defaults: Any = Journal.__init__.__kwdefaults__
    defaults["every"] = 0.0
    settings = Settings(sink_epsilon=0.04, sink_window=8, early=7, positions=16, backward=backward)
    analysis = api.analyze(model, tokens=24, out=out, resume=resume, settings=settings, **options)
    assert analysis.saved is not None
    write_run(analysis.run, Path(out))
    analysis.saved()


def reproduces_and_dies(recipes: list[str], out: str, at: str, resume: bool, how: str = "SIGKILL") -> int:
    """Reproduces two seeds of a trio without reports, and is killed or interrupted on the way.

    Args:
        recipes: TOML files of baseline, V-scale and backward-only.
        out: where it goes.
        at: `training`, after a checkpoint of the second model; `analysis`, with one micro-batch of the second model
            measured; `track`, `quantization`, `evaluation`: with one checkpoint or model done; `comparison`, before its
            tables; `saving`, with the second of them written; `report`, when that is to be written; or `never`.
        resume: whether to go on with what is there.
        how: the name of the signal.
    """
    import pandas as pd

    import sinkscope.evaluation.run as evaluation
    import sinkscope.quantization.run as quantization
    import sinkscope.reproduction.chain as chain
    import sinkscope.tracking.run as tracking
    import sinkscope.training.loop as loop
    from sinkscope.analysis.drivers.resident import Resident
    from sinkscope.analysis.journal import Journal
    from sinkscope.errors import SinkscopeError
    from sinkscope.reproduction.report import Reproduction
    from sinkscope.reproduction.run import reproduce
    from sinkscope.reproduction.scales import Scale
    from sinkscope.reproduction.settings import Place, ReproductionRequest, Subject

    defaults: Any = Journal.__init__.__kwdefaults__
    defaults["every"] = 0.0
    victims: dict[str, tuple[Any, str, int]] = {  # what is called, and which call it is
        "training": (loop, "save_checkpoint", 3),  # two of the first model
        "analysis": (Resident, "_forward_backward", 3),
        "track": (tracking, "_measured", 1),
        "quantization": (quantization, "measure_model", 1),
        "evaluation": (evaluation, "token_losses", 1),
        "comparison": (chain, "compare_runs", 0),
        "saving": (pd.DataFrame, "to_parquet", 1),
        "report": (Reproduction, "save", 0),
    }
    if at in victims:
        owner, name, count = victims[at]
        setattr(owner, name, _after(getattr(owner, name), count, signal.Signals[how]))
    scale = Scale("tiny", (recipes[0], recipes[1], recipes[2]), 2, 4, 2, needles=0, documents=2)
    place = Place(Path(out), resume=resume)
    with undrawn():
        try:
            reproduce(ReproductionRequest(Subject(scale="mini"), place), scale)
        except SinkscopeError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def _after(call: Any, count: int, how: signal.Signals) -> Any:
    """The same, but the process sends itself a signal when it has been called so often."""
    calls = 0

    def counting(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count + 1:
            os.kill(os.getpid(), how)
        return call(*arguments, **keywords)

    return counting


def is_interrupted_quantizing(arguments: list[str]) -> int:
    """The command line; where it quantizes, somebody presses Ctrl-C."""
    import sinkscope.quantization.run as module

    quantization: Any = module
    quantization.measure_model = _after(quantization.measure_model, 0, signal.SIGINT)
    with undrawn():
        return forks.sinkscope(arguments)


@contextmanager
def undrawn() -> Iterator[None]:
    """Leaves out figures and reports."""
    import sinkscope.report.render as module

    render, module.render = module.render, lambda *_: None
    try:
        yield
    finally:
        module.render = render
