"""What a model's name stands for: a folder, a GGUF file, an id of the Hub, or a packaged model, and its configuration.

A name is resolved once. Whoever plans, loads or reads a tokenizer is handed the result, so that all of them mean the
same files at the same commit. No weights are read for it: their hash is taken where it is asked for. A new place or
format of models is one more branch of `_located`.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.loading.architecture import check_architecture
from sinkscope.loading.gguf_file import Gguf, gguf_in, read_gguf
from sinkscope.loading.model_folder import ADAPTER_CONFIG, CONFIG, read_config, weight_files, weights_sha256
from sinkscope.loading.model_hash import content_sha256, file_sha256, model_sha256
from sinkscope.loading.pinned import pin
from sinkscope.loading.place import local_path, packaged_folder, path_of
from sinkscope.loading.quantizer import check_quantization, stored_quantization
from sinkscope.vscale.saved import WEIGHTS_FILE, read_info

__all__ = ["Located", "Resolved", "StoredVScale", "locate", "packaged_folder", "resolve"]


@dataclass(frozen=True)
class StoredVScale:
    """V-scale that a name brings with it.

    Attributes:
        folder: holds it.
        info: its vscale.json; `base` names the model of an adapter, and is None where the folder holds that as well.
    """

    folder: Path
    info: dict[str, Any]


@dataclass(frozen=True)
class Located:
    """Where the files of a model are, or those of a tokenizer.

    Attributes:
        name: as the user gave it.
        origin: the name that the files go by, for messages: that of the base where `name` is a V-scale adapter.
        location: what transformers reads from, a folder or a Hub id.
        pinning: goes with every call of transformers that reads from there.
        folder: local folder of the config.json, or of the GGUF file: `location` itself, or a commit's files in the
            Hub's cache.
        revision: commit on the Hub; None for a folder.
        gguf_file: name of the GGUF file in `folder` that the model is in, or None.
        vscale: the V-scale that is to be attached, or None.
        adapter: whether a peft adapter lies beside the weights.
    """

    name: str
    origin: str
    location: str
    pinning: dict[str, Any]
    folder: Path
    revision: str | None
    gguf_file: str | None = None
    vscale: StoredVScale | None = None
    adapter: bool = False

    @property
    def gguf_path(self) -> Path | None:
        """Where the GGUF file is."""
        return self.folder / self.gguf_file if self.gguf_file is not None else None


@dataclass(frozen=True, kw_only=True)
class Resolved(Located):
    """A model that is known by its configuration.

    Attributes:
        config: the parsed config.json, or what a GGUF file says in its place.
        gguf: what the GGUF file says of itself, or None.
        quantization: method of a checkpoint that is stored quantized, or None.
        bits: bits per weight of that checkpoint's linear modules, where it says so.
        unsupported: why the model cannot be measured; None where it can.
    """

    config: dict[str, Any]
    gguf: Gguf | None
    quantization: str | None
    bits: int | None
    unsupported: SinkscopeError | None

    @cached_property
    def weights_sha256(self) -> str | None:
        """Hash of the safetensors files (`loading.model_folder.weights_sha256`), read when it is first asked for.

        That of the file for a GGUF file. None for safetensors of the Hub, whose commit pins them.

        Raises:
            SinkscopeError: if files are missing or cut short, or hold other weights than a V-scale adapter is for.
        """
        digest = None
        if self.gguf is not None:
            digest = self.gguf.sha256()
        elif self.revision is None:
            digest = weights_sha256(weight_files(self.folder, self.origin))
        base = self.vscale.info["base"] if self.vscale is not None else None
        expected = base.get("weights_sha256") if base is not None else None
        if expected is not None and digest != expected:
            raise SinkscopeError(
                f"{self.name} is V-scale for other weights than those of {self.origin}: their SHA-256 is "
                f"{str(digest)[:12]}..., not {expected[:12]}..."
            )
        return digest

    @cached_property
    def sha256(self) -> str:
        """Hash of all that the model is made of (`loading.model_hash`), read when it is first asked for.

        Raises:
            SinkscopeError: as `weights_sha256`.
        """
        return model_sha256(self.parts)

    @cached_property
    def parts(self) -> dict[str, str | None]:
        """The hashes that `sha256` is made of, by what they are of."""
        # A GGUF file holds its configuration, which transformers' releases may put in other words.
        config = None if self.gguf is not None else content_sha256(self.config)
        code = sorted(self.folder.glob("*.py")) if "auto_map" in self.config else []
        vscale = None
        if self.vscale is not None:
            info = {key: value for key, value in self.vscale.info.items() if key != "base"}  # where it is, not what
            vscale = content_sha256([info, file_sha256(self.vscale.folder / WEIGHTS_FILE)])
        return {
            "weights": self.weights_sha256,
            "commit": self.revision,
            "config": config,
            "code": content_sha256([[path.name, file_sha256(path)] for path in code]) if code else None,
            "vscale": vscale,
        }


def resolve(name: str, revision: str | None = None, gguf_file: str | None = None) -> Resolved:
    """Finds a model and reads its configuration.

    Args:
        name: one of `names.PACKAGED`, a local folder (`./demo` is one too), a GGUF file, or a model id of the Hugging
            Face Hub. A folder with a vscale.json is the model that this V-scale belongs to.
        revision: branch, tag or commit of a Hub model.
        gguf_file: name of the GGUF file, in the folder or the Hub's repository, that the model is in.

    Raises:
        SinkscopeError: if there is no such model, or its configuration cannot be read.
    """
    located = locate(name, revision, gguf_file)
    gguf = None
    if located.gguf_path is not None and located.gguf_file is not None:
        gguf = read_gguf(located.gguf_path, located.gguf_file, located.origin)
    config = gguf.config if gguf is not None else read_config(located.folder / CONFIG, located.origin)
    quantization, bits = stored_quantization(config)
    unsupported = None
    try:
        check_architecture(config, located.origin)
        check_quantization(config, located.origin)
    except SinkscopeError as error:
        unsupported = error
    return Resolved(
        **vars(located), config=config, gguf=gguf, quantization=quantization, bits=bits, unsupported=unsupported
    )


def locate(name: str, revision: str | None = None, gguf_file: str | None = None) -> Located:
    """Finds a model, or what holds no more of one than its tokenizer.

    Args:
        name: as `resolve` takes it.
        revision: branch, tag or commit of a Hub model.
        gguf_file: as `resolve` takes it.

    Raises:
        SinkscopeError: if it is nowhere.
    """
    folder = path_of(name)
    info = read_info(folder)
    if info is None:
        return _located(name, revision, gguf_file)
    base, vscale = info["base"], StoredVScale(folder, info)
    if base is None:
        return replace(_located(name, revision, gguf_file), vscale=vscale)
    if revision is not None:
        raise RequestError(f"`revision` is that of the base, which {name} names itself: leave it out")
    if gguf_file is not None:
        raise RequestError(f"`gguf_file` is that of the base, which {name} names itself: leave it out")
    file = (base.get("gguf") or {}).get("file")
    return replace(_located(base["name"], base.get("revision"), file), name=name, vscale=vscale)


def _located(name: str, revision: str | None, gguf_file: str | None) -> Located:
    """What a name stands for by itself, V-scale aside."""
    path = local_path(name, revision)
    if path is not None:
        if not path.is_dir():
            if gguf_file not in (None, path.name):
                raise RequestError(f"{name} is a file itself, and not '{gguf_file}': leave out `gguf_file`")
            return _in_gguf(name, path.parent, path.name, None)
        file = gguf_in(path, gguf_file, name)
        if file is not None:
            return _in_gguf(name, path, file, None)
        adapter = (path / ADAPTER_CONFIG).is_file()
        return Located(name, name, str(path), {"local_files_only": True}, path, None, adapter=adapter)
    pinned = pin(name, revision, gguf_file)
    if gguf_file is not None:
        return _in_gguf(name, pinned.folder, gguf_file, pinned.commit)
    pinning = {"revision": pinned.commit, "local_files_only": pinned.cached_only}
    return Located(name, name, name, pinning, pinned.folder, pinned.commit, adapter=pinned.adapter)


def _in_gguf(name: str, folder: Path, file: str, revision: str | None) -> Located:
    """A model in a GGUF file, which is on disk by now; by its full path, which means no other file anywhere."""
    pinning = {"local_files_only": True, "gguf_file": str((folder / file).absolute())}
    return Located(name, name, str(folder), pinning, folder, revision, file)
