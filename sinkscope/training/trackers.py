"""Where the metrics of a training go besides metrics.parquet: accelerate's trackers.

accelerate passes over a tracker whose library is missing with a warning that scrolls by; here that is an error.
"""

import importlib.util
from typing import Any

from accelerate import Accelerator

from sinkscope.errors import RequestError

TRACKERS = ("tensorboard", "wandb")


def check_tracker(name: str | None) -> None:
    """Refuses a tracker that is unknown or not installed.

    Raises:
        SinkscopeError: with the command that installs it.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise RequestError(f"`log_to` is one of {', '.join(TRACKERS)}, not {name}")
    if importlib.util.find_spec(name) is None:
        raise RequestError(f"`log_to={name}` needs the package {name}: pip install {name}")


def start_tracker(accelerator: Accelerator, settings: dict[str, Any]) -> None:
    """Opens the tracker that the accelerator was made with, if any.

    Args:
        accelerator: the engine.
        settings: nested settings of the run; they are recorded flat, as `optimizer.lr`.
    """
    if accelerator.log_with:
        accelerator.init_trackers("sinkscope", config=dict(_flat(settings, "")))


def _flat(settings: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            items += _flat(value, f"{prefix}{key}.")
        else:
            items.append((prefix + key, "none" if value is None else value))
    return items
