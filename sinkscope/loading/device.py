"""The device that a request names: one that torch knows, and that this machine has."""

import torch

from sinkscope.errors import RequestError, first_line

AUTO = "auto"


def named_device(name: str) -> torch.device:
    """The device of a name; whether this machine has it is not asked.

    Args:
        name: `auto` for the first GPU, else the CPU; or a torch device.

    Raises:
        RequestError: if torch knows no such device.
    """
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise RequestError(f"`device={name}` is none: it is auto, cpu, cuda, cuda:1, ...") from error


def usable_device(name: str) -> torch.device:
    """The device of a name, which can hold numbers.

    Raises:
        RequestError: if torch knows no such device, or this machine does not have it.
    """
    device = named_device(name)
    if name != AUTO:
        try:
            torch.zeros(1, device=device).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise RequestError(f"`device={name}` cannot be used: {first_line(error)}") from error
    return device
