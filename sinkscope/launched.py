"""What a launcher (`torch.distributed.run`, `accelerate launch`) told this process; nothing here loads torch."""

import os


def is_main_process() -> bool:
    """Whether this process is the one of several that speaks; launchers number processes in RANK."""
    return os.environ.get("RANK", "0") == "0"


def processes() -> int:
    """How many processes were launched together."""
    return int(os.environ.get("WORLD_SIZE", "1"))
