"""What this machine has free: memory, GPU memory, disk.

Inside a container the kernel's figure of free memory is that of the whole host, and a process is killed at its control
group's limit all the same; so the smaller of the two counts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sinkscope.errors import RequestError
from sinkscope.heap import give_back

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Gpu:
    """A CUDA device: its name as torch knows it, its product name, and free and total bytes."""

    device: str
    product: str
    free: int
    total: int


@dataclass(frozen=True)
class Machine:
    """What is free.

    Attributes:
        memory: bytes of memory that a process may still take.
        memory_limit: whether a control group's limit is what bounds it.
        cores: processor cores that this process may use.
        gpus: the CUDA devices.
        disk: free bytes where boundary states would be spilled.
        disk_folder: that folder.
    """

    memory: int
    memory_limit: bool
    cores: int
    gpus: tuple[Gpu, ...]
    disk: int
    disk_folder: str

    def free_on(self, device: str) -> int:
        """Free bytes where a device computes.

        Raises:
            SinkscopeError: if this machine has no such device.
        """
        if device.partition(":")[0] != "cuda":
            return self.memory
        named = device if ":" in device else "cuda:0"
        for gpu in self.gpus:
            if gpu.device == named:
                return gpu.free
        raise RequestError(f"this machine has no device {device}: leave out `device`, or name another")


def this_machine(spill: Path | None = None) -> Machine:
    """What is free now.

    Args:
        spill: where boundary states would be spilled; by default the current folder.
    """
    give_back()  # what this process keeps for itself counts as free
    available, limit = psutil.virtual_memory().available, _limit_left()
    folder = _existing(spill or Path())
    process = psutil.Process()
    cores = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1
    return Machine(
        memory=available if limit is None else min(available, limit),
        memory_limit=limit is not None and limit < available,
        cores=cores,
        gpus=_gpus(),
        disk=psutil.disk_usage(str(folder)).free,
        disk_folder=str(folder),
    )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.expanduser().resolve()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _gpus() -> tuple[Gpu, ...]:
    import torch

    def gpu(index: int) -> Gpu:
        free, total = torch.cuda.mem_get_info(index)
        return Gpu(f"cuda:{index}", torch.cuda.get_device_name(index), free, total)

    return tuple(gpu(index) for index in range(torch.cuda.device_count())) if torch.cuda.is_available() else ()


def _limit_left(root: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes left to this process under its control groups' limits; None where nothing limits it."""
    if not membership.is_file():
        return None
    left: list[int] = []
    for line in membership.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            names, base = ("memory.max", "memory.current"), root
        elif "memory" in controllers.split(","):
            names, base = ("memory.limit_in_bytes", "memory.usage_in_bytes"), root / "memory"
        else:
            continue
        # A limit of any group above holds too; inside a container the path itself is often not mounted.
        group = base / path.lstrip("/")
        for place in (group, *group.parents):
            limit, used = (_number(place / name) for name in names)
            if limit is not None and used is not None:
                left.append(max(0, limit - used + _reclaimable(place)))
            if place == base:
                break
    return min(left, default=None)


def _number(file: Path) -> int | None:
    """A figure in a file of the kernel; None where there is none, or it says that nothing is limited."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _reclaimable(group: Path) -> int:
    """Bytes of cached files that the kernel drops when the group needs memory."""
    try:
        text = (group / "memory.stat").read_text(encoding="utf-8")
    except OSError:
        return 0
    figures: dict[str, Any] = dict(line.split() for line in text.splitlines())
    return int(figures.get("total_inactive_file", figures.get("inactive_file", 0)))
