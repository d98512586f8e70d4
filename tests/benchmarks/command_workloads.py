"""Measurements of `bench_command.py` in one process: `command_workloads.py FOLDER SEQUENCES TOKENS METHOD ...`.

Prints one JSON object: by method its repetitions, each with the seconds of the clock and of the processor and the bytes
added at the peak. The methods are interleaved, A B C A B C, on one model and the same windows; each has run once, on a
few tokens, before. `stages` is the whole of an analysis by stage instead, from the interpreter's start on. The process
keeps freed memory, as the command's does; all methods gain by it.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from process import timed
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging
from workloads import input_gradients, naive, one_by_one

from sinkscope import heap
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.passes.batches import batches_of
from sinkscope.passes.modes import frozen

Work = Callable[[PreTrainedModel, Tensor], None]
Row = dict[str, float]


@torch.no_grad()
def forward(model: PreTrainedModel, input_ids: Tensor) -> None:
    """A bare forward pass."""
    model(input_ids=input_ids, labels=input_ids, use_cache=False)


def passes(*, backward: bool) -> Work:
    """Work that makes the passes of an analysis, without its tables."""

    def work(model: PreTrainedModel, input_ids: Tensor) -> None:
        scope = Scope(model, Settings(backward=backward))
        scope.recorder.sequences = len(input_ids)
        Resident(model).sweep(scope, batches_of(input_ids, None, 1))

    return work


# By method: the work, and the attention implementation that it asks of the model.
WORK: dict[str, tuple[Work, str]] = {
    "forward": (one_by_one(forward), "sdpa"),
    "scope-forward": (passes(backward=False), "sdpa"),
    "input-gradients": (one_by_one(input_gradients), "sdpa"),
    "scope": (passes(backward=True), "sdpa"),
    "naive": (one_by_one(naive), "eager"),
}


def work_of(methods: list[str], folder: str, sequences: int, tokens: int, repetitions: int) -> dict[str, list[Row]]:
    """Seconds and memory of some of `WORK`."""
    models = {
        attention: AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32)
        for attention in {WORK[method][1] for method in methods}
    }
    input_ids = windows(int(next(iter(models.values())).config.vocab_size), sequences, tokens)
    rows: dict[str, list[Row]] = {method: [] for method in methods}
    for repetition in range(repetitions + 1):
        for method in methods:
            work, attention = WORK[method]
            with frozen(models[attention]):
                if not repetition:
                    work(models[attention], input_ids[:1, :16])
                else:
                    rows[method].append(timed(lambda: work(models[attention], input_ids)))  # noqa: B023  (called here)
    return rows


def stages_of(folder: str, sequences: int, tokens: int, started: tuple[float, float]) -> dict[str, list[Row]]:
    """Seconds of the stages of an analysis with its report."""
    import sinkscope
    from sinkscope.loading.load import load_model

    marks = {"start": started, "imports": now()}
    loaded = load_model(folder, dtype="float32", device="cpu")
    marks["loading"] = now()
    with TemporaryDirectory() as out:
        analysis = sinkscope.analyze(loaded.model, loaded.tokenizer, sequences=sequences, tokens=tokens)
        marks["passes and tables"] = now()
        analysis.save(Path(out) / "run")
        marks["report and files"] = now()
    names = list(marks)
    return {
        name: [{"seconds": marks[name][0] - marks[before][0], "processor": marks[name][1] - marks[before][1]}]
        for before, name in pairwise(names)
    }


def windows(vocabulary: int, sequences: int, tokens: int) -> Tensor:
    """The token ids [sequences, tokens] that every method reads."""
    return torch.randint(0, min(vocabulary, 2048), (sequences, tokens), generator=torch.Generator().manual_seed(1))


def now() -> tuple[float, float]:
    """The clock, and this process's share of the processor so far."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("sequences", type=int)
    parser.add_argument("tokens", type=int)
    parser.add_argument("methods", nargs="+", choices=[*WORK, "stages"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=1)
    given = parser.parse_args()
    heap.keep()
    torch.set_num_threads(given.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if given.methods == ["stages"]:
        # Imports came before this line: the processor's clock knows them, and the clock since the process began too.
        began = (time.perf_counter() - alive(), 0.0)
        print(json.dumps(stages_of(given.folder, given.sequences, given.tokens, began)))
    else:
        print(json.dumps(work_of(given.methods, given.folder, given.sequences, given.tokens, given.repetitions)))


def alive() -> float:
    """Seconds since this process began (Linux)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
