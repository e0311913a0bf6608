"""Which version is served while versions come, go and are broken."""

import gc
import pathlib
import shutil
import threading
import time
import weakref
from collections.abc import Callable

import pytest
from fake_model import FakeModel, make_version

from components.errors import ModelError
from components.served_models import ServedModels, candidates, newest_model


def test_highest_number_is_served_and_all_else_is_no_version(tmp_path: pathlib.Path) -> None:
    for name in ("9", "10", "99x", ".incoming-100", "latest"):
        make_version(tmp_path, name)
    (tmp_path / "1000").mkdir()  # Without a SavedModel.
    (tmp_path / "2000").touch()
    assert [path.name for path in candidates(tmp_path)] == ["10", "9"]
    assert ServedModels(tmp_path, FakeModel).current.version == 10


def test_folder_of_a_version_stays_whatever_comes_beside_it(tmp_path: pathlib.Path) -> None:
    models = ServedModels(make_version(tmp_path, "3"), FakeModel)
    make_version(tmp_path, "4")
    assert not models.poll()
    assert models.current.version == 3
    assert ServedModels(make_version(tmp_path, "by hand"), FakeModel).current.version == 1


def test_folder_without_a_model_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelError, match="There is no model"):
        ServedModels(tmp_path, FakeModel)
    make_version(tmp_path, "1", broken=True)
    said: list[str] = []
    with pytest.raises(ModelError, match="None of the 1 version"):
        ServedModels(tmp_path, FakeModel, said.append)
    assert said == ["version 1 is passed over: this one is broken"]


def test_new_version_is_taken_up_and_the_old_one_released_after_its_requests(tmp_path: pathlib.Path) -> None:
    make_version(tmp_path, "1")
    models = ServedModels(tmp_path, FakeModel)
    in_flight = models.current
    old = weakref.ref(in_flight.model)
    assert not models.poll()
    make_version(tmp_path, "2")
    assert models.poll()
    assert models.current.version == 2
    assert in_flight.model.answer([b"\x89PNG"])[0][1] == ""
    del in_flight
    gc.collect()
    assert old() is None


def test_broken_version_is_reported_once_and_passed_over_until_its_files_change(tmp_path: pathlib.Path) -> None:
    make_version(tmp_path, "1")
    said: list[str] = []
    models = ServedModels(tmp_path, FakeModel, said.append)
    broken = make_version(tmp_path, "2", broken=True)
    for _ in range(3):
        assert not models.poll()
    assert models.current.version == 1
    assert said == ["version 2 is passed over: this one is broken"]
    make_version(tmp_path, "3")
    assert models.poll() and models.current.version == 3
    shutil.rmtree(tmp_path / "3")
    (broken / "broken").unlink()
    assert models.poll() and models.current.version == 2


def test_version_that_answers_no_picture_is_passed_over(tmp_path: pathlib.Path) -> None:
    class Refusing(FakeModel):
        def answer(self, encoded: list[bytes]) -> list[tuple[bytes, str]]:
            return [(b"", "no")] * len(encoded) if self.folder.name == "2" else super().answer(encoded)

    make_version(tmp_path, "1")
    make_version(tmp_path, "2")
    said: list[str] = []
    assert ServedModels(tmp_path, Refusing, said.append).current.version == 1
    assert "does not answer a good picture: no" in said[0]


def test_highest_one_left_is_taken_when_the_served_one_is_removed(tmp_path: pathlib.Path) -> None:
    for name in ("1", "2", "3"):
        make_version(tmp_path, name)
    models = ServedModels(tmp_path, FakeModel)
    shutil.rmtree(tmp_path / "3")
    assert models.poll() and models.current.version == 2
    shutil.rmtree(tmp_path / "1")
    assert not models.poll()
    shutil.rmtree(tmp_path / "2")
    assert not models.poll()
    assert models.current.version == 2  # From memory.


def test_watching_goes_on_after_a_report_that_fails(tmp_path: pathlib.Path) -> None:
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        raise OSError("the standard error is closed")

    make_version(tmp_path, "1")
    models = ServedModels(tmp_path, FakeModel, report)
    with models.following(0.01):
        make_version(tmp_path, "2", broken=True)
        _wait(lambda: bool(said))
        make_version(tmp_path, "3")
        _wait(lambda: models.current.version == 3)


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_newest_model_is_that_of_the_highest_number_in_any_pipeline(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelError, match="No model has been pushed"):
        newest_model(str(tmp_path))
    make_version(tmp_path / "models" / "a", "9")
    newest = make_version(tmp_path / "models" / "b", "10")
    (tmp_path / "models" / "a" / "11").mkdir()  # Without a SavedModel.
    assert newest_model(str(tmp_path)) == newest


def test_old_version_answers_while_a_new_one_loads(tmp_path: pathlib.Path) -> None:
    may_end = threading.Event()

    def load(folder: pathlib.Path) -> FakeModel:
        assert folder.name == "1" or may_end.wait(20)
        return FakeModel(folder)

    make_version(tmp_path, "1")
    models = ServedModels(tmp_path, load)
    with models.following(0.01):
        make_version(tmp_path, "2")
        time.sleep(0.2)
        assert models.current.version == 1
        may_end.set()
        _wait(lambda: models.current.version != 1)
    assert models.current.version == 2
