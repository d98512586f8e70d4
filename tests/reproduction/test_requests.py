"""What a reproduction could never do is refused before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import ModelSource
from sinkscope.reproduction.run import planned
from sinkscope.reproduction.settings import Place, ReproductionRequest, Subject


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ({"seeds": 10**23}, "`seeds` must be from 1 to 1000"),
        ({"tokens": 999_999}, "999999 tokens exceed the 256 of 'mini'"),
        ({"data": "nowhere.txt"}, "nowhere.txt"),
        ({"scale": None, "on": " "}, "`model` names no model"),
    ],
)
def test_it_is_said_before_anything_is_trained(subject: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SinkscopeError, match=said):
        planned(ReproductionRequest(Subject(**{"scale": "mini", **subject}), Place(tmp_path / "out")))


def test_a_device_that_is_not_there_is_too(tmp_path: Path) -> None:
    request = ReproductionRequest(Subject(scale="mini"), Place(tmp_path / "out"), ModelSource(device="cuda:63"))
    with pytest.raises(SinkscopeError, match="cuda"):
        planned(request)
