"""The confusion matrix that the training loop counts is that of components.iou."""

import numpy as np
import pytest
import tensorflow as tf

from components import iou, iou_tensorflow

V = 255  # Void.
CLASSES = 3
TRUTH = np.array([[[0, 0, 1], [1, 2, V]]], np.int32)
PREDICTION = np.array([[[0, 1, 1], [1, 0, 2]]], np.int32)


def _logits(prediction: np.ndarray, num_classes: int = CLASSES) -> np.ndarray:
    """Returns float32 logits whose best class is the prediction; the runner-up is close, so that only the order counts."""
    return np.where(np.arange(num_classes) == prediction[..., np.newaxis], 0.51, 0.5).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_hand_counted_masks(dtype: type) -> None:
    matrix = iou_tensorflow.confusion_matrix(tf.constant(TRUTH.astype(dtype)), tf.constant(_logits(PREDICTION)))
    assert matrix.dtype == tf.int64
    assert matrix.numpy().tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


@pytest.mark.parametrize("compiled", [None, False, True], ids=["eager", "graph", "xla"])
def test_random_masks_count_as_in_numpy(compiled: bool | None) -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice([0, 1, 2, V], (7, 2, 3)).astype(np.int32)
    prediction = rng.integers(0, CLASSES, (7, 2, 3)).astype(np.int32)
    count = iou_tensorflow.confusion_matrix
    if compiled is not None:
        count = tf.function(count, jit_compile=compiled)
    expected = iou.confusion_matrix(truth, prediction, CLASSES)
    assert count(tf.constant(truth), tf.constant(_logits(prediction))).numpy().tolist() == expected.tolist()


def test_void_alone_counts_nothing() -> None:
    assert iou_tensorflow.confusion_matrix(tf.fill([1, 2, 3], V), tf.constant(_logits(PREDICTION))).numpy().sum() == 0


def test_one_class_is_always_right() -> None:
    labels = tf.constant([[[0, V, 0]]])
    assert iou_tensorflow.confusion_matrix(labels, tf.zeros([1, 1, 3, 1])).numpy().tolist() == [[2]]
