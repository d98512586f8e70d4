"""One analysis by several processes: each measures a share of the windows, and their recorders are merged.

Sequences are independent of each other, so processes need each other twice only: after their passes they tell where
they found sinks, since the column sums at a sink cover all sequences; and at the end all recorders go to the first
process, one after another.
"""

import io
from typing import Any

import torch
from torch import Tensor

from sinkscope.capture.recorder import Recorder
from sinkscope.capture.statistics.statistic import reading
from sinkscope.launch.group import Processes


def sinks_of_all(processes: Processes, recorder: Recorder) -> dict[int, Tensor]:
    """By layer, the positions where any process found a sink, int64 on the CPU."""
    by_layer: dict[int, list[Tensor]] = {}
    for of_process in processes.exchange(recorder.sink_positions()):
        for layer, positions in of_process.items():
            by_layer.setdefault(layer, []).append(positions)
    return {layer: torch.cat(positions).unique() for layer, positions in by_layer.items()}


def merge(processes: Processes, recorder: Recorder) -> None:
    """Makes the first process's recorder that of the whole run, on the CPU."""
    content = _packed(recorder)
    others = processes.gather(content)
    if processes.main:
        recorder.restore(_unpacked(content))
    for other in others:
        recorder.merge(_unpacked(other))


def _packed(recorder: Recorder) -> Tensor:
    buffer = io.BytesIO()
    torch.save(recorder.state(), buffer)
    return torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)


def _unpacked(content: Tensor) -> dict[str, Any]:
    with reading():
        state: dict[str, Any] = torch.load(io.BytesIO(content.numpy().tobytes()), weights_only=True, map_location="cpu")
    return state
