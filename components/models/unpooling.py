"""Max unpooling: values go back to where a pooling found its maxima.

As in DeconvNet (Noh et al. 2015, https://arxiv.org/abs/1505.04366) and SegNet (Badrinarayanan et al. 2015,
https://arxiv.org/abs/1511.00561), whose decoders have the widths of the features that were pooled: the places differ from
channel to channel, so that maps of another width would have none.
"""

import keras
from keras import layers, ops


class MaxUnpool(layers.Layer):
    """Undoes a 2x2 max pooling with stride 2: each value goes to its window's maximum (to the first of equal ones), else 0."""

    def call(self, inputs: keras.KerasTensor, before: keras.KerasTensor) -> keras.KerasTensor:
        """Float [B, h, w, C] and what was pooled, [B, 2 h, 2 w, C], to [B, 2 h, 2 w, C]."""
        _, height, width, channels = ops.shape(inputs)
        windows = ops.reshape(before, (-1, height, 2, width, 2, channels))
        windows = ops.reshape(ops.transpose(windows, (0, 1, 3, 5, 2, 4)), (-1, height, width, channels, 4))
        places = ops.one_hot(ops.argmax(windows, axis=-1), 4, dtype=inputs.dtype)  # [B, h, w, C, 4], row by row.
        values = ops.reshape(inputs[..., None] * places, (-1, height, width, channels, 2, 2))
        return ops.reshape(ops.transpose(values, (0, 1, 4, 2, 5, 3)), (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(
        self, inputs_shape: tuple[int | None, ...], before_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """That of what was pooled."""
        return before_shape
