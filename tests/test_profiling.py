"""What training steps take, and how much of that is waiting for batches."""

import contextlib
import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import losses, optimizer, profiling
from components.training_loop import TrainingLoop
from pipeline_config import TrainConfig


class Clock:
    """Passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def batches(self, count: int, batch_s: float) -> Iterator[int]:
        for number in range(count):
            self.now += batch_s
            yield number

    def train(self, count: int, batch_s: float = 0, step_s: float = 0, compiled: int = 1) -> list[int]:
        """Takes the steps of an epoch, of which the first ones are compiled."""
        taken: list[int] = []
        for batch in profiling.watched(self.batches(count, batch_s), lambda: min(len(taken), compiled)):
            self.now += step_s
            taken.append(batch)
        return taken


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profiling, "time", clock)
    return clock


def _profiles(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.glob("plugins/profile/*/*.xplane.pb"))


def test_batches_are_handed_on_untouched_where_nobody_watches() -> None:
    batches = [1, 2]
    assert profiling.watched(batches, lambda: 0) is batches


def test_waiting_for_slow_batches_is_the_share_that_is_bound_by_input(tmp_path: pathlib.Path, clock: Clock) -> None:
    with profiling.profiled(str(tmp_path)) as times:
        assert clock.train(5, batch_s=3, step_s=1) == [0, 1, 2, 3, 4]
    assert (times.steps, times.seconds, times.waiting_s, times.input_share) == (4, 16, 12, 0.75)
    assert (times.traced_steps, times.traced_s) == (1, 4)


def test_slow_steps_are_hardly_bound_by_input(tmp_path: pathlib.Path, clock: Clock) -> None:
    with profiling.profiled(str(tmp_path)) as times:
        clock.train(5, batch_s=1, step_s=4)
    assert times.input_share == 0.2


def test_steps_that_are_compiled_do_not_count(tmp_path: pathlib.Path, clock: Clock) -> None:
    with profiling.profiled(str(tmp_path)) as times:
        clock.train(3, batch_s=1, step_s=1, compiled=3)
    assert (times.steps, times.seconds, times.traced_steps, times.traced_s) == (0, 0, 3, 6)
    assert times.input_share is None


def test_end_of_an_epoch_that_comes_late_is_waiting(tmp_path: pathlib.Path, clock: Clock) -> None:
    def late() -> Iterator[int]:
        yield from clock.batches(2, batch_s=1)
        clock.now += 5

    with profiling.profiled(str(tmp_path)) as times:
        assert list(profiling.watched(late(), lambda: 0)) == [0, 1]
    assert (times.steps, times.seconds, times.waiting_s) == (2, 7, 7)


@pytest.mark.parametrize(
    ("epochs", "recorded"),
    [
        ([30], profiling.PROFILED_STEPS),
        ([4, 30], 3),  # The rest of a short epoch.
        ([1, 1, 5], 1),  # Where the first step is all there is, the second is the next epoch's.
        ([1], 0),
    ],
)
def test_some_steps_behind_the_first_are_recorded_once(
    tmp_path: pathlib.Path, clock: Clock, epochs: list[int], recorded: int
) -> None:
    with profiling.profiled(str(tmp_path)) as times:
        for number, count in enumerate(epochs):
            clock.train(count, compiled=number == 0)
    assert times.profiled_steps == recorded
    assert len(_profiles(tmp_path)) == (recorded > 0)


@pytest.mark.parametrize("impossible", ["start", "stop"])
def test_training_goes_on_where_nothing_can_be_recorded(
    tmp_path: pathlib.Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, impossible: str
) -> None:
    stop = tf.profiler.experimental.stop

    def refuse(*_: object, **__: object) -> None:
        if impossible == "stop":
            stop(save=False)
        raise tf.errors.AlreadyExistsError(None, None, "no")

    monkeypatch.setattr(tf.profiler.experimental, impossible, refuse)
    with profiling.profiled(str(tmp_path)) as times:
        assert clock.train(30) == list(range(30))
    assert (times.steps + times.traced_steps, times.profiled_steps) == (30, 0)


def test_recording_ends_where_a_step_fails(tmp_path: pathlib.Path) -> None:
    def fail() -> None:
        for number, _ in enumerate(profiling.watched(range(9), iter(range(99)).__next__)):
            if number == 3:
                raise RuntimeError

    for _ in range(2):  # Only one recording can be under way in a process.
        with pytest.raises(RuntimeError), profiling.profiled(str(tmp_path)) as times:
            fail()
        assert times.traced_steps == 3
    assert profiling.watched([], lambda: 0) == []


def _loop() -> tuple[TrainingLoop, tf.data.Dataset]:
    """Returns a small network, and four batches."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2, 3, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    rule = optimizer.make_optimizer(TrainConfig(), 4)
    loop = TrainingLoop(model, losses.make_loss(TrainConfig()), rule, tf.distribute.get_strategy(), 0)
    images = np.random.default_rng(0).normal(size=(4, 1, 2, 3, 2)).astype(np.float32)
    return loop, tf.data.Dataset.from_tensor_slices((images, np.ones((4, 1, 2, 3), np.int32)))


def test_training_loop_tells_the_compiled_step_from_the_others_and_leaves_a_profile(tmp_path: pathlib.Path) -> None:
    loop, batches = _loop()
    seen: list[int] = []
    with profiling.profiled(str(tmp_path)) as times:
        loop.train(batches, lambda step, loss: seen.append(step))
        loop.validate(batches, lambda step, loss: None)  # Is not counted.
        loop.train(batches, lambda step, loss: seen.append(step))
        loop.retrace()
        loop.train(batches, lambda step, loss: seen.append(step))
    assert seen == [*range(4)] * 3
    assert (times.steps, times.traced_steps, times.profiled_steps) == (10, 2, 3)
    assert 0 < times.input_share < 1
    [profile] = _profiles(tmp_path)
    assert b"train" in profile.read_bytes()


def test_training_that_is_watched_has_the_same_weights(tmp_path: pathlib.Path) -> None:
    found = []
    for watch in (contextlib.nullcontext(), profiling.profiled(str(tmp_path))):
        loop, batches = _loop()
        with watch:
            loop.train(batches, lambda step, loss: None)
        found.append(loop.arrays())
    for plain, watched in zip(*found, strict=True):
        np.testing.assert_array_equal(watched, plain)
