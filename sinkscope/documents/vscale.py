"""vscale.json: the variant of V-scale that a folder holds, and the model that it belongs to."""

from typing import Any, Literal

from pydantic import BaseModel

from sinkscope.documents.types import OURS, THEIRS, Name, Share, Text

FORMAT = 1


class BaseFile(BaseModel):
    """The GGUF file that holds the base."""

    model_config = THEIRS

    file: Name


class Base(BaseModel):
    """The model that an adapter is for, as loading describes it (`loading.load.Loaded.description`)."""

    model_config = OURS

    name: Name
    revision: Text | None = None
    weights_sha256: Text | None = None
    sha256: Text | None = None
    quantization: Text | None = None
    method: dict[Text, Any] | None = None
    gguf: BaseFile | None = None


class VScaleInfo(BaseModel):
    """vscale.json. `base` is null where the folder holds the model's own weights too."""

    model_config = OURS

    format: Literal[1]
    variant: Literal["learned", "fixed", "backward-only"]
    ramp: Share = 1.0
    base: Base | None
