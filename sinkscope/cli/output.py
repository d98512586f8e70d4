"""Where a verb's result goes: its folder, and what the terminal shows of it."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import ModelSource, Output, TextSource
from sinkscope.launch.environment import is_main_process
from sinkscope.progress.display import ended
from sinkscope.terminal import show as show_summary
from sinkscope.terminal import tell, tell_json

if TYPE_CHECKING:
    from sinkscope.results import Result
    from sinkscope.tables.run_folder import Run

_places = ExitStack()


def command_line() -> str:
    """The command that was typed, for provenance."""
    return shlex.join(["sinkscope", *sys.argv[1:]])


def default_folder(name: str, suffix: str = "") -> Path:
    """`runs/<name>`: a folder's own name, that of a file without its suffix, or a Hub id with its owner.

    Args:
        name: of the model.
        suffix: put behind it, as `-evaluation`.
    """
    path = Path(name).expanduser()
    found = path.resolve().name if path.is_dir() else path.stem if path.is_file() else "--".join(path.parts[-2:])
    folder = Path("runs") / found
    return folder.with_name(folder.name + suffix)


def place_for(output: Output, usual: Path | None = None) -> tuple[Path, Output]:
    """The place of a run, this command's alone until it ends, and refused now if it could not be written in the end.

    Args:
        output: what was asked for.
        usual: the folder where none was; None for a verb that requires one.

    Returns:
        The folder, and the output with it.
    """
    from sinkscope.tables.run_folder import check_target

    folder = output.out if output.out is not None else usual
    assert folder is not None  # noqa: S101  (a verb without a usual place requires one)
    take_place(folder)
    check_target(folder, force=output.force)
    return folder, replace(output, out=folder)


def take_place(folder: Path) -> None:
    """Makes a folder this command's alone until it ends."""
    from sinkscope.files.owner import owned

    _places.enter_context(owned(folder, here=is_main_process()))


def give_up_places() -> None:
    """Lets other commands have the places that this one took."""
    _places.close()


@contextmanager
def training_resumable(folder: Path) -> Iterator[None]:
    """An interrupt inside says how to go on, where a training has begun in a folder or, of several seeds, below it."""
    try:
        yield
    except KeyboardInterrupt as error:
        from sinkscope.training.training_folder import SETTINGS

        if not any(any(folder.glob(place)) for place in (SETTINGS, f"*/{SETTINGS}")):
            raise
        raise SinkscopeError("interrupted: the same command with `resume` goes on from here") from error


def tell_training(folder: Path) -> None:
    """Says where a training's checkpoints and metrics are; a training shorter than their spacing has no checkpoints."""
    from sinkscope.training.training_folder import CHECKPOINTS, METRICS

    for what, name in (("checkpoints", CHECKPOINTS), ("metrics", METRICS)):
        if (folder / name).exists():
            tell(f"{what}: {folder / name}")


def refuse_mistaken(*models: ModelSource, text: TextSource | None = None, caches: bool = False) -> None:
    """Says what is wrong with names of models, methods or a text, as far as it shows before torch is imported.

    Args:
        *models: the models.
        text: the text.
        caches: whether the verb takes methods that round the cache.
    """
    from sinkscope.loading.place import refuse_mistaken as refuse_model
    from sinkscope.methods.grammar import check_method
    from sinkscope.text.sources import refuse_missing

    for model in models:
        if model.quantize is not None:
            check_method(model.quantize, "quantize", caches=caches)
        refuse_model(model)
    if text is not None:
        refuse_missing(text)


def finish(result: "Result", folder: Path, *, force: bool, json: bool = False) -> None:
    """Writes a result into its run folder and shows it.

    Args:
        result: what a verb made.
        folder: its place.
        force: replace an older run there.
        json: print its run.json instead of its summary.
    """
    result.info["command"] = command_line()
    result.save(folder, force=force)
    show(result.run, folder, json=json)


def show(run: "Run", folder: Path, *, json: bool = False) -> None:
    """Prints what a finished run found, and where it is.

    Args:
        run: the run.
        folder: where it was written.
        json: print its run.json instead, and nothing else.
    """
    ended()
    if json:
        from sinkscope.tables.run_folder import INFO_FILE

        tell_json((folder / INFO_FILE).read_text(encoding="utf-8"))
        return
    from sinkscope.report.kinds import kind_of

    show_summary(kind_of(run).summary(run))
    tell(f"tables, figures, report.pdf and report.html: {folder}")
