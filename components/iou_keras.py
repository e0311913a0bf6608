"""Mean IoU as a Keras metric."""

import keras
import tensorflow as tf

from components import features


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
        cell_count = self.num_classes**2
        # Pixels that do not count go to one more cell: shapes stay static, as XLA demands.
        cells = tf.where(
            truth == features.IGNORE_LABEL, tf.constant(cell_count, tf.int64), truth * self.num_classes + prediction
        )
        counts = tf.math.unsorted_segment_sum(tf.ones_like(cells), cells, cell_count + 1)[:cell_count]
        self.matrix.assign_add(tf.reshape(counts, [self.num_classes, self.num_classes]))

    def result(self) -> tf.Tensor:
        """Returns `components.iou.mean_iou` of the matrix, float32 []; in TensorFlow's own operations, for XLA and GPUs."""
        matrix = tf.cast(self.matrix.value, tf.float64)
        intersection = tf.linalg.diag_part(matrix)
        union = tf.reduce_sum(matrix, 0) + tf.reduce_sum(matrix, 1) - intersection
        present = tf.cast(union > 0, tf.float64)
        mean = tf.reduce_sum(tf.math.divide_no_nan(intersection, union)) / tf.reduce_sum(present)
        return tf.cast(mean, tf.float32)
