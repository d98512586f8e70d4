"""The state of an analysis on disk, so that one that is interrupted or killed goes on instead of starting again.

A folder `.NAME.analysis/` beside the run's place holds the request and, per process, the newest state. A state is all
statistics of a recorder (`capture.recorded`), the losses so far and how far the driver came. A new state is written
beside the one before and renamed over it, so that a process that is killed while it saves leaves the older one whole.
It ends in its own hash, and one that was damaged since is refused. Every number is stored as it is: a resumed analysis
yields the tables of an uninterrupted one bit for bit, where the passes themselves are repeatable.

Saving takes longer the larger the state is. After a save the analysis runs for at least `EVERY` seconds, and for at
least `_PAUSE_PER_SAVE` times as long as the save took, before it saves again. So saving never takes more than about a
twentieth of the time.
"""

import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sinkscope.analysis.drivers.spilled import named_by, remove_spilled
from sinkscope.capture.recorder import Recorder
from sinkscope.capture.statistics.statistic import reading
from sinkscope.errors import SinkscopeError
from sinkscope.files.beside import remove_leftovers
from sinkscope.files.failures import explained_failures
from sinkscope.files.sealed import check_seal, seal
from sinkscope.files.whole import building_file
from sinkscope.unfinished import ANEW, Unfinished

KIND = "analysis"
EVERY = 30.0  # seconds
_PAUSE_PER_SAVE = 20


@dataclass(frozen=True)
class Saved:
    """The newest state of an unfinished analysis.

    Attributes:
        state: what the recorder held (`restore` puts it back).
        done: how far the driver came, in its own units.
        losses: mean losses in nats of the sequences that are done.
        tensors: what else the driver keeps.
    """

    state: dict[str, Any]
    done: int
    losses: list[float] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)


class Journal(Unfinished):
    """The unfinished analysis of one run folder. Nothing is written before the first save.

    Args:
        out: the place of the finished run.
        request: everything that results depend on, JSON-serializable.
        resume: go on with what is there; nothing there is a start from the beginning.
        force: throw away what is there, unless it is resumed.
        every: seconds between saves.
        part: the number of this process among those that share the analysis.

    Raises:
        SinkscopeError: if there is an unfinished analysis and neither is wanted, or it is that of another request.
    """

    def __init__(
        self,
        out: Path,
        request: dict[str, Any],
        *,
        resume: bool,
        force: bool,
        every: float = EVERY,
        part: int = 0,
    ) -> None:
        super().__init__(out, KIND, request, resume=resume, force=force)
        self.every = every
        self.part = part
        self._state = self.folder / f"state-{part}.pt"
        self._due = time.monotonic() + every
        remove_leftovers(self.folder, self._state.name)  # the other processes of this analysis write other files

    @property
    def spilled(self) -> Path:
        """The note of where this process's boundary states are (`drivers.spilled`), where they are on disk."""
        return self.folder / f"spill-{self.part}.json"

    def discard(self) -> None:
        """Removes the folder, and the boundary states that a note in it names."""
        for note in self.folder.glob("spill-*.json"):
            spilled = named_by(note)
            if spilled is not None:
                remove_spilled(spilled)
        super().discard()

    def discard_if_empty(self) -> None:
        """Removes the folder where there is no state in it to go on from; not under the hands of other processes."""
        if self._request.get("processes", 1) == 1 and not self.begun:
            self.discard()

    @property
    def begun(self) -> bool:
        """Whether anything was saved."""
        return self._state.is_file()

    def load(self) -> Saved | None:
        """The newest state, its tensors on the devices that they came from; None where nothing was saved.

        Raises:
            SinkscopeError: if the file is damaged.
        """
        if not self._state.is_file():
            return None
        check_seal(self._state, ANEW)
        try:
            with reading():
                return Saved(**torch.load(self._state, weights_only=True))
        except (RuntimeError, EOFError, OSError, TypeError, pickle.UnpicklingError) as error:
            raise SinkscopeError(f"{self._state} cannot be read: {ANEW}") from error

    def save(
        self,
        recorder: Recorder,
        done: int,
        losses: list[float],
        tensors: dict[str, Tensor] | None = None,
        force: bool = False,
    ) -> None:
        """Replaces the newest state, if it is time to.

        Args:
            recorder: what was recorded.
            done: how far the driver came.
            losses: of the sequences that are done.
            tensors: what else the driver has to have to go on.
            force: save also if the last time was a moment ago.

        Raises:
            SinkscopeError: if it cannot be written.
        """
        started = time.monotonic()
        if not force and started < self._due:
            return
        content = {"state": recorder.state(), "done": done, "losses": losses, "tensors": tensors or {}}
        with explained_failures(self.folder, "the unfinished analysis"):
            self.begin()
            with building_file(self._state) as building:
                with building.open("wb") as file:
                    torch.save(content, file)
                seal(building)
        now = time.monotonic()
        self._due = now + max(self.every, _PAUSE_PER_SAVE * (now - started) if self.every else 0.0)


def restore(recorder: Recorder, saved: Saved) -> None:
    """Puts a saved state into a recorder that has recorded nothing yet."""
    recorder.restore(saved.state)
