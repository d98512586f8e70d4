"""A process that spills and is killed, as a target of `forks`."""

import os
import signal
from pathlib import Path


def spills_and_dies(parent: str, note: str) -> None:
    """Keeps a boundary state, perhaps noted for another process, and dies."""
    import torch

    from sinkscope.analysis.drivers.spilled import OnDisk

    OnDisk(Path(parent), Path(note) if note else None).put(("state", 0, 0), torch.ones(2))
    os.kill(os.getpid(), signal.SIGKILL)
