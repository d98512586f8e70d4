"""A model in training to disk and back: its whole weights, or what of it is trained."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.compat.tied_weights import tied_names
from sinkscope.errors import SinkscopeError
from sinkscope.files import building_folder
from sinkscope.loading.load import Loaded
from sinkscope.loading.model_folder import weight_files
from sinkscope.loading.quiet import quiet
from sinkscope.names import PACKAGED
from sinkscope.training.checkpoint import Saver, gathered
from sinkscope.training.engine import Engine
from sinkscope.training.training_folder import MODEL
from sinkscope.vscale import attached
from sinkscope.vscale import save as save_vscale
from sinkscope.vscale.saved import load_parameters_

TRAINED_FILE = "trained.safetensors"


def whole_saver(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Saver:
    """Saves a whole model, V-scale included, as a folder that every verb can load."""

    def save(folder: Path, state: dict[str, Tensor]) -> None:
        with quiet():
            if attached(model):
                save_vscale(model, folder, state=state)
            else:
                model.save_pretrained(folder, state_dict=state)
        tokenizer.save_pretrained(folder)

    return Saver(save, lambda _, folder: _load_whole_(model, folder))


def trained_saver(model: nn.Module) -> Saver:
    """Saves the parameters that are trained, in one file, where the rest of the model is what it was."""
    names = frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)

    def save(folder: Path, state: dict[str, Tensor]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in state.items()}, folder / TRAINED_FILE)

    def load_(model: nn.Module, folder: Path) -> None:
        stored = load_file(folder / TRAINED_FILE)
        if stored.keys() != names:
            raise SinkscopeError(f"{folder} does not hold what is trained here: start anew")
        model.load_state_dict(stored, strict=False)

    return Saver(save, load_, names)


def finish(engine: Engine, out: Path, saver: Saver) -> None:
    """Leaves the finished model in `out/model`. Every process must call this."""
    state = gathered(engine, saver.names)
    if engine.accelerator.is_main_process:
        with building_folder(out / MODEL) as building:
            saver.save(building, state)
    engine.accelerator.wait_for_everyone()


def base_of(loaded: Loaded) -> dict[str, Any]:
    """How a V-scale adapter names its base: a path by its absolute form and hash, a Hub model by its commit."""
    local = loaded.revision is None and loaded.name not in PACKAGED
    name = str(Path(loaded.name).expanduser().resolve()) if local else loaded.name
    base = {"name": name, "revision": loaded.revision, "weights_sha256": loaded.weights_sha256}
    return base if loaded.gguf is None else {**base, "gguf": {"file": loaded.gguf.file}}


def _stored(model: PreTrainedModel, folder: Path) -> dict[str, Tensor]:
    """The weights of a folder by the names that they have in the model.

    transformers writes some families under the names and in the shapes of their first checkpoints (GPT-NeoX's head,
    experts one by one), and turns them back as it loads, which changes no bit.
    """
    stored: dict[str, Tensor] = {}
    for file in weight_files(folder, str(folder)):
        stored |= load_file(file)
    if stored.keys() <= model.state_dict().keys():
        return stored
    with quiet():
        loaded = type(model).from_pretrained(folder, dtype=model.dtype, use_safetensors=True, local_files_only=True)
    return dict(loaded.state_dict())


def _load_whole_(model: PreTrainedModel, folder: Path) -> None:
    """Puts the weights of a folder into a model of the same shape, bit by bit, in place."""
    stored = _stored(model, folder)
    valves = attached(model)
    own = tuple(f"{name}." for name, module in model.named_modules() if any(module is valve for valve in valves))
    tied = tied_names(model)
    missing, unexpected = model.load_state_dict(stored, strict=False)
    lost = [key for key in missing if key not in tied and not key.startswith(own)] if own else [*set(missing) - tied]
    if lost or unexpected:
        raise SinkscopeError(f"{folder} does not hold this model's weights ({(lost or unexpected)[0]}): start anew")
    if valves:
        load_parameters_(model, folder)
