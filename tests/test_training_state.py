"""A training's state: it comes back to the bit, and whatever moment a kill chooses, one whole state remains."""

import io
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components import training_state
from components.training_state import StateFolder, TrainingState, decode, encode, remove_finished


def _state(epoch: int, best_epoch: int = 1) -> TrainingState:
    rng = np.random.default_rng(epoch)
    return TrainingState(
        epoch=epoch,
        arrays=[rng.random((2, 3), np.float32), np.int64(epoch), np.zeros((0,), np.float32)],
        best_score=0.25,
        best_epoch=best_epoch,
        best_weights=[np.full(3, best_epoch, np.float32)],
        dropout=0.5,
        history=[{"epoch": 1, "loss": 0.1, "val_mean_iou": 0.25}],
    )


def _same(one: TrainingState, other: TrainingState) -> bool:
    arrays = zip([*one.arrays, *one.best_weights], [*other.arrays, *other.best_weights], strict=True)
    facts = ("epoch", "best_score", "best_epoch", "dropout", "history")
    return all(getattr(one, name) == getattr(other, name) for name in facts) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays
    )


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "unfinished" / "1a") if request.param == "local" else f"ram://{tmp_path.name}/unfinished/1a"


def test_state_comes_back_to_the_bit(place: str) -> None:
    StateFolder(place).save(_state(3))
    loaded = StateFolder(place).load()
    assert loaded is not None and _same(loaded, _state(3))


@pytest.mark.parametrize("state", [_state(3), TrainingState(epoch=1, arrays=[np.ones(1)]), TrainingState()])
def test_state_reaches_another_host_to_the_bit(state: TrainingState) -> None:
    received = decode(encode(state))
    assert received is not None and _same(received, state) and len(received.best_weights) == len(state.best_weights)
    assert decode(encode(None)) is None


def test_what_another_host_sends_runs_no_code() -> None:
    content = io.BytesIO()
    np.savez(content, np.array([object()]))  # NumPy pickles it.
    with pytest.raises(ValueError, match="allow_pickle=False"):
        decode(content.getvalue())


def test_no_folder_is_no_state(place: str) -> None:
    assert StateFolder(place).load() is None


def test_state_before_any_validation_has_no_best_weights(place: str) -> None:
    StateFolder(place).save(TrainingState(epoch=1, arrays=[np.ones(1)]))
    loaded = StateFolder(place).load()
    assert loaded is not None and loaded.best_weights == [] and loaded.best_score == -1


def test_newest_state_replaces_the_one_before(place: str) -> None:
    folder = StateFolder(place)
    folder.save(_state(9))
    folder.save(_state(10, best_epoch=10))
    loaded = folder.load()
    assert loaded is not None and _same(loaded, _state(10, best_epoch=10))
    assert sorted(name.rstrip("/") for name in tf.io.gfile.listdir(place)) == ["best-000010.npz", "epoch-000010"]


def test_best_weights_of_an_epoch_that_was_not_ended_are_replaced(place: str) -> None:
    folder = StateFolder(place)
    folder.save(_state(1))
    tf.io.gfile.copy(f"{place}/best-000001.npz", f"{place}/best-000002.npz")  # Epoch 2 was killed before its state was whole...
    folder.save(_state(2, best_epoch=2))  # ...and is trained again.
    loaded = folder.load()
    assert loaded is not None and _same(loaded, _state(2, best_epoch=2))


@pytest.mark.parametrize("file", ["epoch-000002/state.json", "epoch-000002/arrays.npz", "best-000002.npz"])
@pytest.mark.parametrize("length", [None, 0, 40])
def test_damaged_state_counts_as_none(place: str, file: str, length: int | None) -> None:
    folder = StateFolder(place)
    folder.save(_state(2, best_epoch=2))
    with tf.io.gfile.GFile(f"{place}/{file}", "rb") as whole:
        content = whole.read()
    tf.io.gfile.remove(f"{place}/{file}")
    if length is not None:
        with tf.io.gfile.GFile(f"{place}/{file}", "wb") as damaged:
            damaged.write(content[:length])
    assert folder.load() is None
    folder.save(_state(1))  # And the training begins anew.
    loaded = folder.load()
    assert loaded is not None and _same(loaded, _state(1))


def test_finished_training_leaves_nothing_once_it_is_published(place: str) -> None:
    parent = place.rpartition("/")[0]
    finished, under_way = StateFolder(place), StateFolder(f"{parent}/other")
    for folder in (finished, under_way):
        folder.save(_state(1))
    finished.finish()
    assert finished.load() is not None  # Until it is published, it may be needed.
    remove_finished(parent, keep="1a")
    assert finished.load() is not None
    remove_finished(parent)
    remove_finished(parent)
    assert not tf.io.gfile.exists(place)
    assert under_way.load() is not None
    remove_finished(f"{place}/nowhere")


class _Killed(BaseException):
    pass


def test_kill_at_any_write_leaves_the_state_before_or_the_new_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = ("makedirs", "GFile", "rename", "rmtree", "remove")
    originals = {name: getattr(tf.io.gfile, name) for name in calls}
    outcomes = []
    for moment in range(100):
        folder = StateFolder(str(tmp_path / str(moment)))
        folder.save(_state(1))
        countdown = [moment]

        def dying(name: str, countdown: list[int] = countdown) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                if countdown[0] == 0:
                    raise _Killed
                countdown[0] -= 1
                return originals[name](*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(training_state.tf.io.gfile, name, dying(name))
            try:
                folder.save(_state(2, best_epoch=2))
            except _Killed:
                finished = False
            else:
                finished = True
        loaded = folder.load()
        assert loaded is not None
        assert _same(loaded, _state(1)) or _same(loaded, _state(2, best_epoch=2)), moment
        outcomes.append(loaded.epoch)
        folder.save(_state(3))  # And the training goes on.
        after = folder.load()
        assert after is not None and after.epoch == 3
        if finished:
            break
    assert outcomes[0] == 1 and outcomes[-1] == 2
    assert len(outcomes) > 5


def test_kill_in_the_removal_leaves_what_is_removed_later(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for moment in range(20):
        parent = tmp_path / str(moment)
        folder = StateFolder(str(parent / "1a"))
        folder.save(_state(1))
        folder.finish()
        countdown = [moment]

        def dying(original: Any, countdown: list[int] = countdown) -> Any:
            def call(path: str) -> None:
                if countdown[0] == 0:
                    raise _Killed
                countdown[0] -= 1
                original(path)

            return call

        with monkeypatch.context() as patch:
            for name in ("rmtree", "remove"):
                patch.setattr(training_state.tf.io.gfile, name, dying(getattr(tf.io.gfile, name)))
            try:
                remove_finished(str(parent))
            except _Killed:
                folder.load()  # Whatever is left is no error.
            else:
                break
        remove_finished(str(parent))
        assert list(parent.iterdir()) == []
    assert moment == 3
