"""What happens between two layers of a layer-by-layer analysis: its state is saved, and Ctrl-C takes effect."""

from torch import Tensor

from sinkscope.analysis.journal import Journal, Saved, restore
from sinkscope.capture.recorder import Recorder
from sinkscope.launch.interrupts import Interrupts


class Saving:
    """Reads the state of an interrupted analysis, and writes that of the present one after each step.

    Without a journal it does neither.

    Args:
        journal: the file that states are read from and written to; None where the analysis keeps none.
        interrupts: holds a Ctrl-C back until the step is done; None where there is no journal.
        recorder: holds the statistics, which are the main part of a state.
    """

    def __init__(self, journal: Journal | None, interrupts: Interrupts | None, recorder: Recorder) -> None:
        self.journal = journal
        self.interrupts = interrupts
        self.recorder = recorder

    def load(self) -> Saved | None:
        """The state of an interrupted analysis, whose statistics the recorder holds afterwards; None for a new one."""
        saved = None if self.journal is None else self.journal.load()
        if saved is not None:
            restore(self.recorder, saved)
        return saved

    def save(self, done: int, losses: list[float], frontier: dict[str, Tensor], *, last: bool = False) -> None:
        """Writes the state if it is time to, and then raises a Ctrl-C that was held back.

        Args:
            done: steps that are done.
            losses: of the sequences, where they are known.
            frontier: the boundary tensors, by micro-batch, that the next step starts from.
            last: whether no step follows. The finished state is then written even where it is not time to, if an
                earlier one is on disk: resuming must not go back to that.
        """
        if self.journal is None or self.interrupts is None:
            return
        force = self.interrupts.wanted or (last and self.journal.begun)
        self.journal.save(self.recorder, done, losses, frontier, force=force)
        self.interrupts.deliver()
