"""The garbage collector rests where it is told to, and is as it was afterwards."""

import gc
from collections.abc import Iterator

import pytest

from sinkscope.launch.collector import importing, uncollected


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_it_rests_and_comes_back() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_who_has_it_off_keeps_it_off() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


def test_what_was_imported_is_never_looked_at_again() -> None:
    before = gc.get_freeze_count()
    with importing():
        made = [[n] for n in range(1000)]
    assert gc.get_freeze_count() >= before + len(made)
    assert gc.isenabled()
