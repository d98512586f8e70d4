"""A model id on the Hugging Face Hub, pinned to one commit.

A branch name can point elsewhere between two requests, and provenance needs something that cannot move; so the id is
resolved to a commit once, and config, tokenizer and weights are all read from that commit. Without a connection the
local cache is asked instead, and nothing retries for half a minute first. None of it needs torch: the command line
asks ahead of importing that, and what it learnt then is what the model is resolved with.
"""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sinkscope.compat.hub import TransportError
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.loading.model_folder import ADAPTER_CONFIG, CONFIG, GGUF, no_such_gguf, refuse_without_safetensors


@dataclass(frozen=True)
class Pinned:
    """A model of the Hub at one commit.

    Attributes:
        commit: the commit's full hash.
        folder: of its files in the local cache.
        cached_only: whether the Hub could not be reached, so that only the local cache may be used.
        adapter: whether a peft adapter lies beside the weights.
    """

    commit: str
    folder: Path
    cached_only: bool
    adapter: bool = False


_ahead: dict[tuple[str, str | None, str | None], Pinned] = {}


def pin_ahead(name: str, revision: str | None, gguf_file: str | None = None) -> None:
    """Resolves a model id now, for the next `pin` of the same one.

    Raises:
        SinkscopeError: as `pin`.
    """
    _ahead[name, revision, gguf_file] = pin(name, revision, gguf_file)


def pin(name: str, revision: str | None, gguf_file: str | None = None) -> Pinned:
    """Resolves a model id.

    Args:
        name: `model` or `owner/model`.
        revision: branch, tag or commit; None is the default branch.
        gguf_file: name of the GGUF file that the model is in.

    Raises:
        SinkscopeError: if it is no id, does not exist, is gated, has no safetensors weights or no such file, or can
            neither be reached nor found in the cache.
    """
    known = _ahead.pop((name, revision, gguf_file), None)
    if known is not None:
        return known
    missing = f"there is no folder '{name}', and"
    file = gguf_file or CONFIG
    said = name if gguf_file is None else f"'{gguf_file}' of {name}"
    try:
        info = HfApi().model_info(name, revision=revision)
    except HFValidationError as error:
        raise SinkscopeError(f"{missing} it is no model id either: use a folder, owner/model, or demo") from error
    except GatedRepoError as error:
        raise SinkscopeError(f"{name} is gated on the Hugging Face Hub: accept its terms and log in") from error
    except RepositoryNotFoundError as error:
        raise SinkscopeError(f"{missing} no such model on the Hugging Face Hub (or it is private)") from error
    except RevisionNotFoundError as error:
        raise SinkscopeError(f"{name} has no revision '{revision}' on the Hugging Face Hub") from error
    except OfflineModeIsEnabled:
        return _from_cache(
            name, revision, file, f"{missing} HF_HUB_OFFLINE is set and {said} is not in the local cache"
        )
    except HfHubHTTPError as error:
        raise SinkscopeError(f"the Hugging Face Hub refused {name}: {error}") from error
    except TransportError:
        return _from_cache(
            name,
            revision,
            file,
            f"{missing} the Hugging Face Hub cannot be reached and {said} is not in the local cache",
        )
    there = [sibling.rfilename for sibling in info.siblings or ()]
    if gguf_file is None:
        refuse_without_safetensors(there, name)
    elif gguf_file not in there:
        raise RequestError(no_such_gguf(name, gguf_file, [each for each in there if each.endswith(GGUF)]))
    if info.sha is None:
        raise SinkscopeError(f"the Hugging Face Hub names no commit for {name}")
    try:
        path = Path(hf_hub_download(name, file, revision=info.sha))
        return Pinned(info.sha, _folder(path, file), cached_only=False, adapter=ADAPTER_CONFIG in there)
    except LocalEntryNotFoundError as error:
        raise SinkscopeError(f"the connection to the Hugging Face Hub broke while reading {name}") from error
    except EntryNotFoundError as error:
        raise SinkscopeError(f"{name} has no {file} on the Hugging Face Hub") from error
    except HfHubHTTPError as error:
        raise SinkscopeError(f"the Hugging Face Hub refused {name}: {error}") from error


def _from_cache(name: str, revision: str | None, file: str, complaint: str) -> Pinned:
    try:
        path = Path(hf_hub_download(name, file, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise SinkscopeError(complaint) from error
    # The cache keeps each commit's files in snapshots/<commit>/.
    folder = _folder(path, file)
    return Pinned(folder.name, folder, cached_only=True, adapter=(folder / ADAPTER_CONFIG).is_file())


def _folder(path: Path, file: str) -> Path:
    """The folder that a commit's files lie in, from the place of one of them, which may be in a folder below."""
    return path.parents[file.count("/")]
