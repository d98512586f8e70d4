"""transformers' own kind of linear layer.

Needed: GPT-2's projections are `Conv1D` modules, whose weights stand transposed. Code that quantizes linear layers has
to recognise them, to refuse them by name instead of leaving them out.

Public alternative: an export of the class from `transformers`.
"""

from transformers.pytorch_utils import Conv1D

__all__ = ["Conv1D"]
