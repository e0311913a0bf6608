"""The Keras metric says what components.iou says, over batches, inside fit, and beyond float32's counting range."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from components.iou_keras import MeanIoU

from components import iou, losses
from pipeline_config import TrainConfig

V = 255  # Void.
CLASSES = 3
TRUTH = np.array([[0, 0, 1], [1, 2, V]], np.int32)
PREDICTION = np.array([[0, 1, 1], [1, 0, 2]], np.int32)  # Mean IoU 1/3: see test_iou.py.


def _logits(prediction: np.ndarray, num_classes: int = CLASSES) -> np.ndarray:
    """Returns float32 logits whose best class is the prediction; the runner-up is close, so that only the order counts."""
    return np.where(np.arange(num_classes) == prediction[..., np.newaxis], 0.51, 0.5).astype(np.float32)


def _random_masks(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.choice([0, 1, 2, V], (count, 2, 3)).astype(np.int32), rng.integers(0, CLASSES, (count, 2, 3)).astype(np.int32)


def _expected(truth: np.ndarray, prediction: np.ndarray) -> float:
    return iou.mean_iou(iou.confusion_matrix(truth, prediction, CLASSES))


def test_hand_counted_masks_score_a_third() -> None:
    metric = MeanIoU(CLASSES)
    metric.update_state(TRUTH[np.newaxis], _logits(PREDICTION)[np.newaxis])
    assert metric.matrix.numpy().tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert float(metric.result()) == pytest.approx(1 / 3, abs=1e-7)


def test_uneven_batches_add_up_to_one_matrix() -> None:
    truth, prediction = _random_masks(seed=1, count=7)
    metric = MeanIoU(CLASSES)
    for start, end in ((0, 3), (3, 4), (4, 7)):
        metric.update_state(truth[start:end], _logits(prediction[start:end]))
    assert metric.matrix.numpy().tolist() == iou.confusion_matrix(truth, prediction, CLASSES).tolist()
    assert float(metric.result()) == pytest.approx(_expected(truth, prediction), abs=1e-7)


def test_labels_of_every_integer_type_count_alike() -> None:
    for dtype in (np.uint8, np.int32, np.int64):
        metric = MeanIoU(CLASSES)
        metric.update_state(tf.constant(TRUTH[np.newaxis].astype(dtype)), tf.constant(_logits(PREDICTION)[np.newaxis]))
        assert float(metric.result()) == pytest.approx(1 / 3, abs=1e-7), dtype


def test_absent_class_is_left_out_and_a_wrongly_predicted_one_scores_zero() -> None:
    metric = MeanIoU(4)
    truth = np.zeros((1, 2, 3), np.int32)
    prediction = np.array([[[0, 0, 0], [0, 0, 1]]])
    metric.update_state(truth, _logits(prediction, 4))
    # Class 0: 5/6; class 1: predicted, never true: 0; classes 2 and 3 nowhere: not in the mean.
    assert float(metric.result()) == pytest.approx(5 / 12, abs=1e-7)


def test_void_alone_is_no_number() -> None:
    metric = MeanIoU(CLASSES)
    metric.update_state(np.full((1, 2, 3), V, np.int32), _logits(PREDICTION)[np.newaxis])
    assert metric.matrix.numpy().sum() == 0
    assert math.isnan(float(metric.result()))


def test_counts_beyond_float32_grow_by_one() -> None:
    # 2**24 + 1 is the first whole number that float32 does not have, 2**31 the first that int32 has not.
    metric = MeanIoU(2)
    metric.matrix.assign(np.array([[2**24, 0], [0, 2**33]], np.int64))
    metric.update_state(np.array([[[0, 1]]], np.int32), _logits(np.array([[[0, 1]]]), 2))
    assert metric.matrix.numpy().tolist() == [[2**24 + 1, 0], [0, 2**33 + 1]]
    metric.matrix.assign(np.array([[2**24 + 1, 0], [2**24 + 1, 2**25 + 2]], np.int64))
    # Class 0: (2**24 + 1) / 2 (2**24 + 1); class 1: 2 (2**24 + 1) / 3 (2**24 + 1).
    assert float(metric.result()) == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-7)


def test_reset_starts_at_zero() -> None:
    metric = MeanIoU(CLASSES)
    metric.update_state(1 - TRUTH[np.newaxis] % 2, _logits(PREDICTION)[np.newaxis])
    metric.reset_state()
    assert metric.matrix.numpy().sum() == 0
    metric.update_state(TRUTH[np.newaxis], _logits(PREDICTION)[np.newaxis])
    assert float(metric.result()) == pytest.approx(1 / 3, abs=1e-7)


def test_inside_a_graph_it_counts_as_eagerly() -> None:
    truth, prediction = _random_masks(seed=2, count=5)
    metric = MeanIoU(CLASSES)

    @tf.function
    def update(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        metric.update_state(labels, logits)
        return metric.result()

    update(truth[:2], _logits(prediction[:2]))
    last = update(truth[2:], _logits(prediction[2:]))
    assert float(last) == pytest.approx(_expected(truth, prediction), abs=1e-7)


def _identity_model() -> keras.Model:
    """Returns a model that answers its input, float [B, H, W, C], and has a weight that a learning rate of 0 leaves alone."""
    model = keras.Sequential(
        [
            keras.Input((2, 3, CLASSES)),
            keras.layers.Conv2D(
                CLASSES, 1, use_bias=False, kernel_initializer=lambda shape, dtype: np.eye(CLASSES).reshape(shape)
            ),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), losses.make_loss(TrainConfig()), metrics=[MeanIoU(CLASSES)])
    return model


def test_fit_and_evaluate_report_the_score_of_each_epoch_alone() -> None:
    truth, prediction = _random_masks(seed=3, count=7)
    other_truth, other_prediction = _random_masks(seed=4, count=5)
    model = _identity_model()
    history = model.fit(
        _logits(prediction),
        truth,
        batch_size=3,  # 3, 3, 1
        epochs=3,
        validation_data=(_logits(other_prediction), other_truth),
        validation_batch_size=2,  # 2, 2, 1
        verbose=0,
    ).history
    # The weights do not move, so each epoch scores the same, unless the matrix of the one before is still in it, or
    # validation and training share theirs.
    assert history["mean_iou"] == pytest.approx([_expected(truth, prediction)] * 3, abs=1e-6)
    assert history["val_mean_iou"] == pytest.approx([_expected(other_truth, other_prediction)] * 3, abs=1e-6)
    scores = model.evaluate(_logits(prediction), truth, batch_size=4, verbose=0, return_dict=True)
    assert scores["mean_iou"] == pytest.approx(_expected(truth, prediction), abs=1e-6)
