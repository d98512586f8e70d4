"""How a model rotates queries and keys.

Needed: a cache whose positions count from its own start holds its first keys nearer to a query than the text does, so
queries are rotated once more before they meet these keys. Architectures pair channels differently (halves, or
neighbours), and each modeling file has the function that does it, `apply_rotary_pos_emb(q, k, cos, sin)`, found by the
module of the attention's class. That it is there under this name, and takes cosines and sines [B, T, r] and tensors
[B, H, T, r], is a habit of transformers' files and no promise.

Public alternative: none.
"""

import sys
from collections.abc import Callable

from torch import Tensor, nn

_NAME = "apply_rotary_pos_emb"

Rotation = Callable[[Tensor, Tensor, Tensor], Tensor]


def rotation_of(module: nn.Module) -> Rotation | None:
    """A function of x [B, H, T, r], cosines and sines [B, T, r] that rotates as a module does; None where none is."""
    function = getattr(sys.modules[type(module).__module__], _NAME, None)
    if function is None:
        return None

    def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rotated: Tensor = function(x, x, cos, sin)[0]
        return rotated

    return rotate
