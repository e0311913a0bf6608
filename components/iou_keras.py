"""Mean IoU as a Keras metric."""

import keras
import numpy as np
import tensorflow as tf

from components import features, iou


class MeanIoU(keras.metrics.Metric):
    """Mean IoU of `components.iou`, from one confusion matrix over the epoch; counts are int64, hence exact.

    (keras.metrics.MeanIoU counts in float32, which stops counting at 16.8 million pixels a cell.)

    Args:
        num_classes: C.
        name: of the metric in logs.
    """

    def __init__(self, num_classes: int, name: str = "mean_iou") -> None:
        """Starts at zero."""
        super().__init__(name=name, dtype="int64")
        self.num_classes = num_classes
        self.matrix = self.add_variable((num_classes, num_classes), "zeros", dtype="int64", name="confusion_matrix")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: None = None) -> None:
        """Adds a batch: labels int [B, H, W] (255 does not count) and logits float [B, H, W, C]."""
        del sample_weight
        truth = tf.cast(tf.reshape(y_true, [-1]), tf.int64)
        prediction = tf.argmax(tf.reshape(y_pred, [-1, self.num_classes]), axis=-1)
        counted = truth != features.IGNORE_LABEL
        cells = tf.boolean_mask(truth, counted) * self.num_classes + tf.boolean_mask(prediction, counted)
        counts = tf.math.bincount(tf.cast(cells, tf.int32), minlength=self.num_classes**2, dtype=tf.int64)
        self.matrix.assign_add(tf.reshape(counts, [self.num_classes, self.num_classes]))

    def result(self) -> tf.Tensor:
        """Returns float32 []."""
        return tf.numpy_function(lambda matrix: np.float32(iou.mean_iou(matrix)), [self.matrix.value], tf.float32)
