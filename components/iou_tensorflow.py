"""The confusion matrix of `components.iou`, counted where the network runs."""

import tensorflow as tf

from components import features


def confusion_matrix(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Counts pixels of a batch; in TensorFlow's own operations, for XLA and GPUs.

    Args:
        labels: int [B, H, W], 0..C-1, or 255 for pixels that do not count.
        logits: float [B, H, W, C].

    Returns:
        int64 [C, C]: entry [t, p] is the number of pixels of class t whose largest logit is that of p.
    """
    num_classes = logits.shape[-1]
    truth = tf.cast(tf.reshape(labels, [-1]), tf.int64)
    prediction = tf.argmax(tf.reshape(logits, [-1, num_classes]), axis=-1)
    cell_count = num_classes**2
    # Pixels that do not count go to one more cell: shapes stay static, as XLA demands.
    cells = tf.where(truth == features.IGNORE_LABEL, tf.constant(cell_count, tf.int64), truth * num_classes + prediction)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(cells), cells, cell_count + 1)[:cell_count]
    return tf.reshape(counts, [num_classes, num_classes])
