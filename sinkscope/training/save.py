"""A model in training to disk and back: its whole weights, or what of it was trained."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.models.folder import weight_files
from sinkscope.models.quiet import quiet
from sinkscope.training.checkpoint import SaveModel, gathered
from sinkscope.training.disk import building_folder
from sinkscope.training.engine import Engine
from sinkscope.training.folder import MODEL
from sinkscope.vscale import attached
from sinkscope.vscale import save as save_vscale
from sinkscope.vscale.store import load_parameters_


def model_saver(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> SaveModel:
    """What writes a whole model, V-scale included, from its gathered state into a folder that every verb can load."""

    def save(folder: Path, state: dict[str, Tensor]) -> None:
        with quiet():
            if attached(model):
                save_vscale(model, folder, state=state)
            else:
                model.save_pretrained(folder, state_dict=state)
        tokenizer.save_pretrained(folder)

    return save


def load_weights_(model: PreTrainedModel, folder: Path) -> None:
    """Puts the weights that `model_saver` wrote into a model of the same shape, bit by bit, in place.

    Raises:
        SinkscopeError: if the folder holds not all of them, or others.
    """
    stored: dict[str, Tensor] = {}
    for file in weight_files(folder, str(folder)):
        stored |= load_file(file)
    valves = {f"{name}." for name, module in model.named_modules() if any(module is valve for valve in attached(model))}
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    missing, unexpected = model.load_state_dict(stored, strict=False)
    lost = [key for key in missing if key not in tied and not any(key.startswith(valve) for valve in valves)]
    if lost or unexpected:
        raise SinkscopeError(f"{folder} does not hold this model's weights ({(lost or unexpected)[0]}): start anew")
    if valves:
        load_parameters_(model, folder)


def finish(engine: Engine, out: Path, save_model: SaveModel) -> None:
    """Leaves the finished model in `out/model`. Every process must call this."""
    state = gathered(engine)
    if engine.accelerator.is_main_process:
        with building_folder(out / MODEL) as building:
            save_model(building, state)
    engine.accelerator.wait_for_everyone()
