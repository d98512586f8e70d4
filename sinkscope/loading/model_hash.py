"""One hash over all that a model is made of.

The hash of the weights alone says too little: another `rope_theta` in config.json, an adapter or a V-scale is another
model on the same weights. So the parts are hashed by name: the weights (or the commit of the Hub, which pins every
file), the configuration, V-scale, an adapter that was put on, and the code of a model that brings its own. What is in a
configuration and changes no number is left out, so that a copy of a model is the same model.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNIMPORTANT = frozenset({
    "_name_or_path", "_commit_hash", "transformers_version", "architectures", "use_cache",
    "_attn_implementation", "_attn_implementation_internal", "attn_implementation", "_attn_implementation_autoset",
})  # fmt: skip
"""Keys of config.json that change no measured number: attention is measured by a function of sinkscope's own."""


def content_sha256(config: Any) -> str:
    """Hash of a JSON document by its content, `UNIMPORTANT` keys left out at every depth."""
    plain = json.dumps(_important(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash of a file; of one that is not there, that of nothing."""
    if not path.is_file():
        return hashlib.sha256().hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_sha256(parts: Mapping[str, str | None]) -> str:
    """Hash of a model from those of its parts.

    Args:
        parts: by name; one that is None is not there, and the same as left out.
    """
    return content_sha256({name: digest for name, digest in parts.items() if digest is not None})


def _important(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _important(inner) for key, inner in value.items() if key not in UNIMPORTANT}
    return [_important(inner) for inner in value] if isinstance(value, list) else value
