"""A seed that no generator takes is refused before anything is measured, by whichever verb."""

from collections.abc import Callable
from typing import Any

import pytest

from sinkscope.ablation.settings import AblationSettings
from sinkscope.comparison.settings import ComparisonSettings
from sinkscope.errors import RequestError
from sinkscope.evaluation.settings import EvaluationSettings


@pytest.mark.parametrize("seed", [-1, 2**32, 2**62])
@pytest.mark.parametrize("settings", [AblationSettings, ComparisonSettings, EvaluationSettings])
def test_a_seed_that_no_generator_takes_is_refused(settings: Callable[..., Any], seed: int) -> None:
    settings(seed=2**32 - 1)
    with pytest.raises(RequestError, match="`seed` must be from 0 to"):
        settings(seed=seed)
