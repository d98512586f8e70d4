"""What the canaries share: looking a name of another library up, and saying what moved where it is gone.

A canary looks names up here before it imports the module of `sinkscope.compat` that needs them, so that a name that is
gone fails a test with a sentence instead of stopping the collection.
"""

import importlib
import inspect
from importlib import metadata
from typing import Any

import pytest


def moved(library: str, what: str, home: str) -> str:
    """A canary's message.

    Args:
        library: the distribution.
        what: what it does not do any more.
        home: the module of `sinkscope.compat` that relies on it.
    """
    return f"{library} {metadata.version(library)}: {what}. sinkscope/compat/{home}.py relies on it: see its docstring"


def require(path: str, home: str, *parameters: str) -> Any:
    """The object at `module:name.name`, or a failed test.

    Args:
        path: where it is.
        home: the module of `sinkscope.compat` that relies on it.
        parameters: names that its parameters begin with, in this order.
    """
    module, _, names = path.partition(":")
    library = module.partition(".")[0]
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        pytest.fail(moved(library, f"there is no module {module}", home))
    for name in names.split("."):
        if not hasattr(found, name):
            pytest.fail(moved(library, f"{module} has no {names}", home))
        found = getattr(found, name)
    if parameters:
        now = tuple(inspect.signature(found).parameters)
        if now[: len(parameters)] != parameters:
            pytest.fail(moved(library, f"{names} takes {', '.join(now)}, not {', '.join(parameters)}", home))
    return found
