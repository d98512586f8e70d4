"""Where the checkpoints of a training run are, and at which step each was made.

A run is a folder of checkpoint folders, or a model of the Hugging Face Hub whose branches and tags are its checkpoints.
The step is in the name, and nothing else says it for certain; so a name without a number is an error, not a guess.
"""

import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

from sinkscope.compat.hub import TransportError
from sinkscope.documents.read import read
from sinkscope.documents.state import Trained
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.loading.model_folder import CONFIG, GGUF, read_config
from sinkscope.names import VSCALE_INFO
from sinkscope.training.training_folder import SETTINGS

# As step-000500, checkpoint-500, step1000 and step1000-tokens4B are written; else the last number of a name.
_NAMED_STEP = re.compile(r"(?:step|checkpoint|ckpt|iter)[-_]?(\d+)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_LIKE_A_CHECKPOINT = re.compile(r"[A-Za-z]*[-_]?\d+")
_SMALL = 1 << 20  # bytes
_INSIDE = "model"  # a training of ours keeps the model in this folder of a checkpoint, beside the optimizer's state
_SHAPE = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        step: optimizer steps done.
        name: of its folder, or its revision.
        model: what `load_model` takes: a folder, or a Hub id.
        revision: of the Hub model; None for a folder.
    """

    step: int
    name: str
    model: str
    revision: str | None = None

    def fingerprint(self) -> Any:
        """Changes when the files do: names, sizes, times, and what small ones say; for the Hub the revision."""
        if self.revision is not None:
            return self.revision
        files = sorted(path for path in Path(self.model).glob("*") if path.is_file())
        return [[path.name, path.stat().st_size, path.stat().st_mtime_ns, _small(path)] for path in files]


def _small(path: Path) -> str | None:
    """The hash of a small file, as a configuration is; None for a large one, which its size and time must tell."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.stat().st_size <= _SMALL else None


def find_checkpoints(source: str, revisions: str | None = None) -> list[Checkpoint]:
    """The checkpoints of a training run, by step.

    Args:
        source: a folder of checkpoints, also one with a folder `checkpoints` in it, as `sinkscope pretrain` writes,
            whose finished model is then the last; with `revisions` a Hub id.
        revisions: pattern of branches and tags, as `step*`.

    Raises:
        SinkscopeError: if there are none, a name has no number, or two have the same.
    """
    checkpoints = _in_folder(Path(source).expanduser(), source) if revisions is None else _on_hub(source, revisions)
    by_step: dict[int, Checkpoint] = {}
    for checkpoint in checkpoints:
        twin = by_step.setdefault(checkpoint.step, checkpoint)
        if twin is not checkpoint:
            raise SinkscopeError(f"{source} has two checkpoints of step {twin.step}: {twin.name}, {checkpoint.name}")
    return [by_step[step] for step in sorted(by_step)]


def step_of(name: str, source: str) -> int:
    """The step in a checkpoint's name.

    Raises:
        SinkscopeError: if the name has no number.
    """
    number = _NAMED_STEP.search(name) or _LAST_NUMBER.search(name)
    if number is None:
        raise SinkscopeError(
            f"the checkpoint {name} of {source} has no number in its name, so its step is unknown: rename it, or take "
            "it out of the selection"
        )
    return int(number[1])


def refuse_mixed(checkpoints: list[Checkpoint]) -> None:
    """Refuses folders with models of different shapes, by their configurations, before any is loaded.

    Raises:
        SinkscopeError: naming the first that differs.
    """
    first: tuple[str, dict[str, Any]] | None = None
    for checkpoint in checkpoints:
        path = Path(checkpoint.model) / CONFIG
        if checkpoint.revision is not None or not path.is_file():
            continue
        try:
            shape = {key: read_config(path, checkpoint.name).get(key) for key in _SHAPE}
        except SinkscopeError:
            continue  # it fails to load, and is named then
        first = first or (checkpoint.name, shape)
        refuse_other_shape(first, (checkpoint.name, shape))


def refuse_other_shape(first: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> None:
    """Refuses a model whose described shape is not the first one's; both are (name, shape).

    Raises:
        SinkscopeError: naming both and the first difference.
    """
    for key, value in first[1].items():
        if other[1].get(key) != value:
            raise RequestError(
                f"{other[0]} is another model than {first[0]}: {key} {other[1].get(key)}, not {value}; "
                "track the checkpoints of one training run"
            )


def _in_folder(folder: Path, source: str) -> list[Checkpoint]:
    if not folder.is_dir():
        hint = "for revisions of a Hub model add `revisions='step*'`"
        raise SinkscopeError(f"there is no folder {source} with checkpoints: {hint}")
    checkpoints = []
    if (folder / "checkpoints").is_dir():
        checkpoints = _finished(folder)
        folder = folder / "checkpoints"
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        location = path / _INSIDE if (path / _INSIDE).is_dir() else path
        if _holds_a_model(location) or _LIKE_A_CHECKPOINT.fullmatch(path.name):
            checkpoints.append(Checkpoint(step_of(path.name, source), path.name, str(location)))
    if not checkpoints:
        raise SinkscopeError(f"{source} holds no checkpoints: folders with a model, named as step-000500")
    return checkpoints


def _finished(training: Path) -> list[Checkpoint]:
    """The finished model of a training of ours, whose number of steps is in its settings."""
    settings, model = training / SETTINGS, training / _INSIDE
    if not settings.is_file() or not _holds_a_model(model):
        return []
    step = read(settings, Trained).schedule.steps
    taken = training / "checkpoints" / f"step-{step:06d}"
    return [] if taken.is_dir() else [Checkpoint(step, _INSIDE, str(model))]


def _holds_a_model(folder: Path) -> bool:
    described = (folder / CONFIG).is_file() or (folder / VSCALE_INFO).is_file()
    return described or any(any(folder.glob(weights)) for weights in ("*.safetensors", f"*{GGUF}"))


def _on_hub(name: str, pattern: str) -> list[Checkpoint]:
    if Path(name).expanduser().exists():
        raise RequestError(f"`revisions` is for models of the Hugging Face Hub, and {name} is a folder")
    try:
        refs = HfApi().list_repo_refs(name)
    except HFValidationError as error:
        raise SinkscopeError(f"{name} is neither a folder nor a model id of the Hugging Face Hub") from error
    except RepositoryNotFoundError as error:
        raise SinkscopeError(f"there is no model {name} on the Hugging Face Hub (or it is private)") from error
    except OfflineModeIsEnabled as error:
        raise SinkscopeError(f"HF_HUB_OFFLINE is set, and the revisions of {name} are on the Hub") from error
    except HfHubHTTPError as error:
        raise SinkscopeError(f"the Hugging Face Hub refused {name}: {error}") from error
    except TransportError as error:
        raise SinkscopeError(f"the Hugging Face Hub cannot be reached for the revisions of {name}") from error
    names = sorted({ref.name for ref in [*refs.branches, *refs.tags]})
    chosen = [ref for ref in names if fnmatchcase(ref, pattern)]
    if not chosen:
        there = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise SinkscopeError(f"no revision of {name} matches {pattern}; there are: {there}")
    return [Checkpoint(step_of(ref, name), ref, name, ref) for ref in chosen]
