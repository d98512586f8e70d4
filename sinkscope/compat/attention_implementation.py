"""Which attention a transformers model calls, and switching that.

Needed: transformers keeps the choice in `config._attn_implementation`, per tower where a model has several. Every tap
and valve is an implementation of its own, so the choice is read, changed and put back. `set_attn_implementation` is
public, but reading is not, and it says no without an error: it asks `PreTrainedModel._can_set_attn_implementation`,
which reads the source file of the module that the model's class stands in, and says no where there is none. That is the
case of a class written in a notebook or run by `exec`; and where the parent class was asked before, its answer is
cached and inherited, so that the same class may be refused or not by what ran earlier. For such classes the question is
asked of their compiled code instead: does the forward function of every attention module look its function up in
`ALL_ATTENTION_FUNCTIONS`?

Public alternative: none for reading. A class attribute by which a model says that it uses the attention interface would
do for the rest.
"""

import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from unittest import mock

from torch import nn
from transformers import PreTrainedModel

ATTRIBUTE = "_attn_implementation"  # of a configuration; reading and patching it work alike
_CHECK = "_can_set_attn_implementation"
_INTERFACE = "ALL_ATTENTION_FUNCTIONS"


def implementation_of(config: Any) -> str:
    """The name of the attention implementation that a configuration chooses."""
    return cast("str", getattr(config, ATTRIBUTE))


def choose_attention_(config: Any, to: str) -> None:
    """Chooses the implementation that a model will be built with, for each of its towers, in place."""
    setattr(config, ATTRIBUTE, to)


def implementations_of(model: PreTrainedModel) -> dict[str, str]:
    """The implementations of a model and of each of its towers, as `switch_attention_` takes them back."""
    towers = {name: getattr(model.config, name) for name in model.config.sub_configs or ()}
    chosen = {"": implementation_of(model.config)}
    return chosen | {name: implementation_of(config) for name, config in towers.items() if config is not None}


def switch_attention_(model: PreTrainedModel, to: str | dict[str, str]) -> bool:
    """Chooses the attention implementation of a model, in place.

    Args:
        model: the model.
        to: an implementation's name, or one for each tower (`implementations_of`).

    Returns:
        Whether the model calls it now: False, and nothing changed, where its attention does not use the interface.
    """
    wanted = to if isinstance(to, str) else to[""]
    with _patched_check(model):
        model.set_attn_implementation(to)
    return implementation_of(model.config) == wanted


@contextmanager
def _patched_check(model: PreTrainedModel) -> Iterator[None]:
    """Answers transformers' question, whether attention can be switched, for classes that have no source file."""
    kinds = {type(part) for part in model.modules() if isinstance(part, PreTrainedModel)}
    with ExitStack() as stack:
        for kind in kinds:
            if not _has_source(kind):
                answer = _uses_the_interface(model)
                stack.enter_context(mock.patch.object(kind, _CHECK, classmethod(lambda _, answer=answer: answer)))
        yield


def _has_source(kind: type) -> bool:
    """Whether the module that a class stands in has a source file, which is what transformers reads."""
    module = sys.modules.get(kind.__module__)
    try:
        return module is not None and bool(inspect.getsource(module))
    except (OSError, TypeError):
        return False


def _uses_the_interface(model: PreTrainedModel) -> bool:
    """Whether every attention module that holds no other names the interface in its forward function."""
    attentions = [module for module in model.modules() if _is_attention(module)]
    innermost = [module for module in attentions if not any(_is_attention(part) for part in _below(module))]
    return all(_INTERFACE in inspect.unwrap(type(module).forward).__code__.co_names for module in innermost)


def _is_attention(module: nn.Module) -> bool:
    """By the class's name, as transformers tells attention modules."""
    return "Attention" in type(module).__name__ and not isinstance(module, PreTrainedModel)


def _below(module: nn.Module) -> Iterator[nn.Module]:
    return (part for part in module.modules() if part is not module)
