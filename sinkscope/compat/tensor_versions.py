"""How often a tensor was changed in place.

Needed: what was computed from a tensor is taken again where the very same tensor comes again, and it must not have
been changed meanwhile. Autograd counts changes for its own checks, in an attribute that is not promised. Tensors of
inference mode are not counted.

Public alternative: none.
"""

from torch import Tensor


def version_of(x: Tensor) -> int | None:
    """A number that every change in place raises; None where changes are not counted."""
    return None if x.is_inference() else int(x._version)
