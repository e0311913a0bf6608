"""Cross-entropy that leaves void out, on six pixels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import losses

V = 255  # Void.
LABELS = np.array([[[0, 1, 0], [1, 0, V]]], np.int32)
# The share that each pixel's true class gets; its logits are the logarithms of (share, 1 - share), in the classes' order.
SHARES = np.array([[[1 / 2, 1 / 4, 3 / 4], [1 / 2, 1 / 8, 1 / 16]]])
EXPECTED = np.log(2 * 4 * (4 / 3) * 2 * 8) / 5  # Five pixels count: -(ln 1/2 + ln 1/4 + ln 3/4 + ln 1/2 + ln 1/8) / 5.


def _logits(labels: np.ndarray = LABELS) -> np.ndarray:
    is_zero = (labels == 0)[..., np.newaxis]
    pair = np.stack([SHARES, 1 - SHARES], axis=-1)  # [B, H, W, 2]: true class, other class
    return np.log(np.where(is_zero, pair, pair[..., ::-1])).astype(np.float32)


def _loss_and_gradient(labels: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = losses.CrossEntropy()(labels, variable)
    return float(loss), tape.gradient(loss, variable).numpy()


def test_mean_is_over_the_pixels_that_count() -> None:
    loss, _ = _loss_and_gradient(LABELS, _logits())
    assert loss == pytest.approx(EXPECTED, rel=1e-6)


def test_gradient_is_softmax_minus_truth_over_the_count_and_zero_on_void() -> None:
    _, gradient = _loss_and_gradient(LABELS, _logits())
    # First pixel: shares (1/2, 1/2), truth 0: ((1/2 - 1) / 5, (1/2 - 0) / 5).
    assert gradient[0, 0, 0].tolist() == pytest.approx([-0.1, 0.1], rel=1e-5)
    # Fifth pixel: shares (1/8, 7/8), truth 0: -7/40, 7/40.
    assert gradient[0, 1, 1].tolist() == pytest.approx([-7 / 40, 7 / 40], rel=1e-5)
    assert gradient[0, 1, 2].tolist() == [0.0, 0.0]


def test_logits_on_void_change_nothing() -> None:
    logits = _logits()
    logits[0, 1, 2] = [1e4, -1e4]
    loss, gradient = _loss_and_gradient(LABELS, logits)
    assert loss == pytest.approx(EXPECTED, rel=1e-6)
    assert gradient[0, 1, 2].tolist() == [0.0, 0.0]


def test_void_alone_costs_nothing_and_moves_nothing() -> None:
    loss, gradient = _loss_and_gradient(np.full((1, 2, 3), V, np.int32), _logits())
    assert loss == 0.0
    assert gradient.tolist() == np.zeros((1, 2, 3, 2)).tolist()


def test_pixels_weigh_the_same_whichever_picture_of_the_batch_they_are_in() -> None:
    only_one = np.full((1, 2, 3), V, np.int32)
    only_one[0, 0, 0] = 0  # Share 1/2.
    labels = np.concatenate([LABELS, only_one])
    logits = np.concatenate([_logits(), _logits(only_one)])
    # Six pixels: the five of the first picture and one more of ln 2. The mean of two means would be (EXPECTED + ln 2) / 2.
    loss, _ = _loss_and_gradient(labels, logits)
    assert loss == pytest.approx((5 * EXPECTED + np.log(2)) / 6, rel=1e-6)


def test_class_that_no_pixel_has_is_pushed_down() -> None:
    # Three equal logits, truths 0 and 1 only: each class has a share of 1/3, the loss is ln 3.
    labels = np.array([[[0, 1, 0], [1, 0, 1]]], np.int32)
    loss, gradient = _loss_and_gradient(labels, np.zeros((1, 2, 3, 3), np.float32))
    assert loss == pytest.approx(np.log(3), rel=1e-6)
    assert gradient[..., 2].ravel().tolist() == pytest.approx([1 / 3 / 6] * 6, rel=1e-5)


def test_without_void_it_is_keras_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (2, 4, 3)).astype(np.int32)
    logits = rng.normal(0, 3, (2, 4, 3, 5)).astype(np.float32)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    assert float(losses.CrossEntropy()(labels, logits)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_random_masks_agree_with_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, V], (3, 2, 3)).astype(np.int32)
    logits = rng.normal(0, 5, (3, 2, 3, 3)).astype(np.float32)
    counted = labels != V
    wide = logits.astype(np.float64)[counted]
    log_shares = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
    expected = -log_shares[np.arange(counted.sum()), labels[counted]].mean()
    assert float(losses.CrossEntropy()(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_inside_a_graph_it_is_what_it_is_eagerly() -> None:
    loss = tf.function(losses.CrossEntropy())(tf.constant(LABELS), tf.constant(_logits()))
    assert float(loss) == pytest.approx(EXPECTED, rel=1e-6)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int32, tf.int64])
def test_labels_may_be_any_integers(dtype: tf.DType) -> None:
    assert float(losses.CrossEntropy()(tf.cast(LABELS, dtype), _logits())) == pytest.approx(EXPECTED, rel=1e-6)


def test_extreme_float16_logits_give_a_finite_float32_loss() -> None:
    # A wrong answer with the largest float16 costs the distance of the logits, 2 * 65504, which float16 does not have.
    logits = np.tile(np.array([-65504, 65504], np.float16), (1, 2, 3, 1))
    labels = np.array([[[0, 0, 0], [0, 0, V]]], np.int32)
    loss = losses.CrossEntropy()(labels, logits)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(2 * 65504, rel=1e-6)
