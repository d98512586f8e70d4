"""Models: which architectures are known, how they are loaded, and where their attention is tapped."""

import logging

# transformers imports torchao wherever it is installed, and torchao warns of kernels for hardware that is not there.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
