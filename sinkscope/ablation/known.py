"""The run of `analyze` that says what there is to take away, and whether it is one of this model."""

from pathlib import Path
from typing import Any

from sinkscope.errors import RequestError
from sinkscope.results import Result
from sinkscope.tables.run_folder import Run, read_run

_SHAPE = ("family", "layers", "heads", "hidden_size")


def analysis_at(place: str | Path | Run | Result) -> Run:
    """A run of `analyze`, given itself or its folder.

    Raises:
        RequestError: for a run of another kind.
    """
    run = read_run(place) if isinstance(place, str | Path) else place.run if isinstance(place, Result) else place
    kind = run.info.get("kind")
    if kind != "analysis":
        raise RequestError(f"what to take away is read from a run of analyze, and this is one of kind '{kind}'")
    return run


def check_same_weights(run: Run, model: dict[str, Any]) -> None:
    """Refuses a run of another model.

    Args:
        run: the analysis.
        model: what run.json is going to say of the model that is ablated.

    Raises:
        RequestError: if the weights differ, or what they were put under.
    """
    other = run.info["model"]
    hashes = [other.get("weights_sha256"), model.get("weights_sha256")]
    same = hashes[0] == hashes[1] if all(hashes) else _named(other) == _named(model)
    if not same:
        known = [f" (weights {digest[:12]})" if digest else "" for digest in hashes]
        raise RequestError(
            f"`from` is a run of another model: '{other.get('name')}'{known[0]}, not '{model.get('name')}'{known[1]}: "
            "analyze this one, or leave it out"
        )
    if other.get("quantization") != model.get("quantization"):
        raise RequestError(
            f"`from` measured the model under '{other.get('quantization') or 'none'}', and this is under "
            f"'{model.get('quantization') or 'none'}': use the same `quantize`"
        )
    check_same_shape(run, model)


def check_same_shape(run: Run, model: dict[str, Any]) -> None:
    """Refuses a run of a model of another shape.

    Raises:
        RequestError: naming what differs.
    """
    different = [name for name in _SHAPE if run.info["model"].get(name) != model.get(name)]
    if different:
        name = different[0]
        raise RequestError(
            f"the run is of another model: its {name} is {run.info['model'].get(name)}, this one's {model.get(name)}"
        )


def _named(model: dict[str, Any]) -> tuple[Any, Any]:
    return model.get("name"), model.get("revision")
