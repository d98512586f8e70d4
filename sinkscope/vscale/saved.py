"""V-scale on disk: the base model's own files, and beside them two small ones.

`vscale.safetensors` holds theta and scale of every layer, `vscale.json` the variant. Base weights keep their original
names, so that any tool loads the folder as the plain model. A folder with the two small files alone is an adapter of a
few kilobytes: its `vscale.json` names the base, and the hash of the base's weights where it was a folder, since V-scale
on other weights is another model.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.documents.read import check, read_json
from sinkscope.documents.vscale import FORMAT, VScaleInfo
from sinkscope.errors import SinkscopeError
from sinkscope.files import building_file, building_folder, write_json
from sinkscope.names import VSCALE_INFO
from sinkscope.vscale.attach import CHILD, attach_, attached, set_ramp_
from sinkscope.vscale.module import VScale

WEIGHTS_FILE, INFO_FILE = "vscale.safetensors", VSCALE_INFO


def save(
    model: PreTrainedModel,
    folder: str | Path,
    *,
    base: dict[str, Any] | None = None,
    state: dict[str, Tensor] | None = None,
) -> Path:
    """Saves a model with V-scale.

    Args:
        model: the model.
        folder: its place. A new folder is written whole or not at all; into one that is there, file by file.
        base: save an adapter of this base alone: `name` (folder or Hub id), and `revision` or `weights_sha256`, as
            `loading.load.Loaded.description` gives them. By default the base weights are saved too.
        state: the model's whole state, where its parameters are spread over processes; by default its own.

    Returns:
        The folder.

    Raises:
        SinkscopeError: if the model has no V-scale.
    """
    valves = attached(model)
    if not valves:
        raise SinkscopeError("there is no V-scale on this model to save: use save_pretrained")
    folder = Path(folder)
    state = model.state_dict() if state is None else state
    if folder.exists():
        _write(model, valves, folder, base, state)
    else:
        with building_folder(folder) as building:
            _write(model, valves, building, base, state)
    return folder


def _write(
    model: PreTrainedModel, valves: list[VScale], folder: Path, base: dict[str, Any] | None, state: dict[str, Tensor]
) -> None:
    """Writes V-scale's two files, and the base's own unless `base` names it; the description comes last."""
    if base is None:
        own = f".{CHILD}."
        model.save_pretrained(folder, state_dict={k: v for k, v in state.items() if own not in k})
    names = {id(module): name for name, module in model.named_modules()}
    tensors = {
        f"{layer}.{tensor}": state[f"{names[id(valve)]}.{tensor}"].detach().cpu().contiguous()
        for layer, valve in enumerate(valves)
        for tensor in ("theta", "scale")
    }
    with building_file(folder / WEIGHTS_FILE) as building:
        save_file(tensors, building)
    info = {"format": FORMAT, "variant": valves[0].variant, "ramp": float(valves[0].ramp), "base": base}
    write_json(folder / INFO_FILE, info, indent=1)


def read_info(folder: Path) -> dict[str, Any] | None:
    """The contents of a folder's vscale.json; None where the folder has none.

    Raises:
        SinkscopeError: if it is not as `documents.vscale` declares it, or names its own folder as the base.
    """
    path = folder / INFO_FILE
    if not path.exists():
        return None
    info: dict[str, Any] = read_json(path)
    base = check(info, VScaleInfo, str(path)).base
    if base is not None and Path(base.name).expanduser().resolve() == folder.resolve():
        raise SinkscopeError(f"{path}: 'base.name' must be another model, not the folder that it lies in")
    return info


def load_into_(model: PreTrainedModel, folder: Path, info: dict[str, Any]) -> PreTrainedModel:
    """Attaches the V-scale that a folder holds, in place.

    Args:
        model: the base model.
        folder: holds vscale.safetensors.
        info: what `read_info` read there.

    Raises:
        SinkscopeError: if the file is missing, cut short, or made for a model of another shape.
    """
    theta, scale = _read(folder)
    attach_(model, variant=info["variant"], scale=scale)
    _fill_(model, theta, scale)
    set_ramp_(model, float(info.get("ramp", 1.0)))
    return model


def load_parameters_(model: PreTrainedModel, folder: Path) -> None:
    """Puts the theta and scale that a folder holds into the V-scale that is attached, in place.

    Raises:
        SinkscopeError: if the file is missing, cut short, or made for a model of another shape.
    """
    _fill_(model, *_read(folder))


def _fill_(model: PreTrainedModel, theta: list[Tensor], scale: list[Tensor]) -> None:
    valves = attached(model)
    if [valve.theta.shape for valve in valves] != [of_layer.shape for of_layer in theta]:
        raise SinkscopeError("this V-scale was saved for a model of another shape")
    for valve, of_theta, of_scale in zip(valves, theta, scale, strict=True):
        valve.theta.data.copy_(of_theta)
        valve.scale.copy_(of_scale)


def _read(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    file = folder / WEIGHTS_FILE
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise SinkscopeError(f"{file} is missing or not a whole safetensors file: save or copy it again") from error
    theta, scale = _by_layer(tensors, "theta"), _by_layer(tensors, "scale")
    if not theta or [t.shape for t in theta] != [s.shape for s in scale]:
        raise SinkscopeError(f"{file} does not hold theta and scale of every layer: save or copy it again")
    return theta, scale


def _by_layer(tensors: dict[str, Tensor], name: str) -> list[Tensor]:
    layers: list[Tensor] = []
    while f"{len(layers)}.{name}" in tensors:
        layers.append(tensors[f"{len(layers)}.{name}"])
    return layers
