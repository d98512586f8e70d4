"""A GGUF file's model as a folder of safetensors, for a library that quantizes weights while it reads those."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from sinkscope.compat.gguf_reading import unpacked
from sinkscope.loading.resolve import Resolved, resolve
from sinkscope.loading.weights import load_weights


@contextmanager
def unpacked_folder(resolved: Resolved) -> Iterator[Resolved]:
    """Unpacks the weights into a folder that lasts as long as the `with` block; it needs four bytes per parameter.

    Args:
        resolved: a model in a GGUF file.

    Yields:
        The folder.
    """
    with tempfile.TemporaryDirectory(prefix="sinkscope-") as folder:
        model, _ = load_weights(resolved, {**resolved.pinning, "dtype": "float32", **unpacked()})
        model.save_pretrained(folder)
        del model
        yield resolve(folder)
