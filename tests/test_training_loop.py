"""One epoch, on batches that are made by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import losses, optimizer
from components.training_loop import TrainingLoop
from pipeline_config import TrainConfig


def _loop(config: TrainConfig) -> TrainingLoop:
    """Returns one whose network only normalises its two channels over the batch, and takes them for logits."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.5)(inputs))
    rule = optimizer.make_optimizer(config, 4)
    return TrainingLoop(model, losses.make_loss(config), rule, tf.distribute.get_strategy(), config.ema_momentum)


def _batches(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (count, 1, 2, 3, 2)).astype(np.float32), rng.integers(0, 2, (count, 1, 2, 3)).astype(np.int32)


def test_loss_of_an_epoch_is_that_of_its_pixels() -> None:
    images, labels = _batches(2)
    labels[0, 0, 0] = labels[0, 0, 1, 0] = 255  # Two pixels count in the first batch, and six in the second one.
    loop, seen = _loop(TrainConfig()), list[float]()
    loss, matrix = loop.validate(tf.data.Dataset.from_tensor_slices((images, labels)), lambda step, loss: seen.append(loss))
    assert loss == pytest.approx((2 * seen[0] + 6 * seen[1]) / 8, rel=1e-6)
    assert abs(seen[0] - seen[1]) > 0.01
    assert matrix.sum() == 8


@pytest.mark.parametrize(("accumulate_steps", "updates"), [(1, (0, 1, 2, 3)), (2, (1, 3))])
def test_averages_of_statistics_move_with_the_updates(accumulate_steps: int, updates: tuple[int, ...]) -> None:
    loop = _loop(TrainConfig(ema_momentum=0.15, accumulate_steps=accumulate_steps, learning_rate=0.1))
    mean = next(weight for weight in loop.model.non_trainable_weights if "moving_mean" in weight.path)
    seen: list[np.ndarray] = []
    loop.train(tf.data.Dataset.from_tensor_slices(_batches(4)), lambda step, loss: seen.append(np.array(mean)))
    expected = np.zeros(2)
    for number, batch in enumerate(updates):
        old = min(number / (number + 9), 0.15)
        expected = old * expected + (1 - old) * seen[batch]
    with loop.averaged():
        np.testing.assert_allclose(mean, expected, rtol=1e-5)
    np.testing.assert_array_equal(mean, seen[-1])


def test_averages_wait_for_the_first_update() -> None:
    loop = _loop(TrainConfig(ema_momentum=0.9, accumulate_steps=8))
    mean = next(weight for weight in loop.model.non_trainable_weights if "moving_mean" in weight.path)
    loop.train(tf.data.Dataset.from_tensor_slices(_batches(4)), lambda step, loss: None)
    with loop.averaged():
        np.testing.assert_array_equal(mean, np.zeros(2))
    assert np.abs(mean).min() > 0
