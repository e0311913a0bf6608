"""The garbage collector while TensorFlow is imported."""

import gc
import sys
from collections.abc import Iterator

import pytest

from pipeline.imports import uncollected


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_collector_rests_during_the_imports_and_leaves_aside_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with uncollected():
        assert not gc.isenabled()
        came = ["a module"]
    assert gc.isenabled()
    assert not any(one is came for one in gc.get_objects())
    assert gc.get_freeze_count() > 0


def test_collector_goes_on_after_an_import_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_with_tensorflow_there_nothing_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", pytest)
    before = gc.get_freeze_count()
    with uncollected():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_collector_that_was_off_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
