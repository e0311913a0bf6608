"""Losses on logits that leave the ignored pixels out."""

import keras
from keras import ops

from components import features


class CrossEntropy(keras.losses.Loss):
    """Mean cross-entropy over the pixels of a batch that count; 0, with zero gradient, where none does.

    Labels are int [B, H, W], 0..C-1 or 255 (ignored); predictions are float logits [B, H, W, C].
    """

    def __init__(self, name: str = "cross_entropy") -> None:
        """Sets the reduction to the mean over the batch."""
        super().__init__(name=name, reduction="mean", dtype="float32")

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Returns float32 [B], each picture's share, with the wanted loss for its mean.

        (Keras divides a loss among several devices only where it has a batch dimension.)
        """
        counted = ops.not_equal(y_true, features.IGNORE_LABEL)
        labels = ops.where(counted, y_true, 0)
        pixels = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        weights = ops.cast(counted, pixels.dtype)
        pictures = ops.sum(pixels * weights, axis=(1, 2))
        count = ops.cast(ops.shape(pictures)[0], pictures.dtype)
        return pictures * count / ops.maximum(ops.sum(weights), 1.0)
