"""What transformers reports of a loading before it forgives anything, and adapters that it would put on unasked.

Needed: `from_pretrained` takes out of its report what a class declares as ignorable, by patterns that can hide more
than they are meant for (`attention.bias` is a mask in old checkpoints, and a bias elsewhere). The patterns are applied
in one method, `PreTrainedModel._adjust_missing_and_unexpected_keys`, which sees the whole report: of tensors that
cannot be converted, the error that is raised later says only that a log has them. And where peft is installed, an
adapter_config.json beside a model is put on it without a word: both places ask `is_peft_available` first.

Public alternative: none; there is no argument for either.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from transformers import PreTrainedModel

_PLACES = (
    "transformers.integrations.peft.is_peft_available",
    "transformers.models.auto.auto_factory.is_peft_available",
)


@contextmanager
def nothing_forgiven() -> Iterator[dict[str, str]]:
    """Inside, `from_pretrained` reports every stored tensor without a place, and puts no adapter on.

    Yields:
        A dictionary that receives why tensors could not be converted, by name.
    """
    errors: dict[str, str] = {}

    def adjust(_model: PreTrainedModel, report: Any) -> None:
        errors.update({str(key): str(error) for key, error in report.conversion_errors.items()})

    with (
        mock.patch.object(PreTrainedModel, "_adjust_missing_and_unexpected_keys", adjust),
        mock.patch(_PLACES[0], return_value=False),
        mock.patch(_PLACES[1], return_value=False),
    ):
        yield errors


def forgiven_patterns(model: PreTrainedModel) -> set[str]:
    """Patterns of stored names that a model's class says it does not need."""
    return set(model._keys_to_ignore_on_load_unexpected or ())
