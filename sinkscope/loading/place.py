"""Where a model's name points on this machine, and what is wrong with it that shows without torch.

A mistyped folder or a name that the Hub does not know is answered before torch loads, which takes seconds. `resolve`
goes through the same checks, so that they are said in one way.
"""

from pathlib import Path

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import ModelSource
from sinkscope.inside import refuse_unreadable_name
from sinkscope.loading.model_folder import CONFIG, GGUF, read_config
from sinkscope.names import PACKAGED, VSCALE_INFO, looks_like_a_path

PACKAGE = Path(__file__).parents[1] / "packaged"


def refuse_mistaken(model: ModelSource) -> None:
    """Refuses a model whose place or config.json is at fault.

    What a GGUF file or a V-scale adapter holds is found out when the model is resolved.

    Raises:
        SinkscopeError: if there is no such folder, file or model of the Hub, or no readable config.json in it.
    """
    place = path_of(model.name)
    if (place / VSCALE_INFO).is_file():
        return
    path = local_path(model.name, model.revision)
    if path is None:
        from sinkscope.loading.pinned import pin_ahead  # with the Hub's library, which a folder does not need

        pin_ahead(model.name, model.revision, model.gguf_file)
        return
    packed = model.gguf_file is not None or any(path.glob(f"*{GGUF}"))
    if path.is_dir() and not packed:
        read_config(path / CONFIG, model.name)


def local_path(name: str, revision: str | None) -> Path | None:
    """The folder or GGUF file that a name stands for; None for a model of the Hub.

    Args:
        name: as `resolve` takes it.
        revision: branch, tag or commit, which only a model of the Hub has.

    Raises:
        SinkscopeError: for another file, a revision beside a local model, or a path to nothing.
    """
    path = path_of(name)
    if path.exists():
        refuse_unreadable_name(path)
        if not path.is_dir() and path.suffix != GGUF:
            raise SinkscopeError(f"{name} is a file: name the folder that holds the model")
        if revision is not None:
            kind = "folder" if path.is_dir() else "file"
            raise RequestError(f"`revision` is for models of the Hugging Face Hub, and {name} is a {kind}")
        return path
    if looks_like_a_path(name):
        raise SinkscopeError(f"there is no {'file' if name.endswith(GGUF) else 'folder'} {name}")
    return None


def path_of(name: str) -> Path:
    """The path that a name is, or that of a packaged model."""
    return packaged_folder(name) if name in PACKAGED else Path(name).expanduser()


def packaged_folder(name: str) -> Path:
    """Folder of a packaged model.

    Args:
        name: one of `names.PACKAGED`.

    Raises:
        SinkscopeError: if this installation lacks it.
    """
    folder = PACKAGE / name
    if not (folder / CONFIG).is_file():
        raise SinkscopeError(f"this installation lacks the model {name}: reinstall sinkscope, or name another model")
    return folder
