"""Pictures of any height and width through a network that takes only some."""

from typing import Any

import keras
from keras import ops

from pipeline_config import ModelConfig


class AnySize(keras.Model):
    """From float [B, H, W, 3], of any height and width, to the network's logits [B, H, W, C].

    A picture whose size does not fit is mirrored beyond its lower and right border up to the next size that does, and the
    logits are cropped; one that fits passes as it is.

    Args:
        network: from [B, h, w, 3] to [B, h, w, C].
        config: what the network was built from.
    """

    def __init__(self, network: keras.Model, config: ModelConfig) -> None:
        """Wraps a network, and shares its weights."""
        super().__init__(name=network.name, dtype="float32")
        self.network = network
        self._config = config

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """Float [B, H, W, 3] to [B, H, W, C]."""
        if all(size is not None and self._config.fits(size) for size in inputs.shape[1:3]):
            return self.network(inputs, training=training)
        _, height, width, _ = ops.shape(inputs)
        rows, columns = (mirror(ops.arange(next_size(size, self._config), dtype="int32"), size) for size in (height, width))
        padded = ops.take(ops.take(inputs, rows, axis=1), columns, axis=2)  # [B, h, w, 3]
        return self.network(padded, training=training)[:, :height, :width]


def next_size(size: Any, config: ModelConfig) -> Any:
    """Returns the smallest height or width that fits and is no smaller; an int, or a tensor of one, as `size` is."""
    return -((config.offset_px - size) // config.stride_px) * config.stride_px + config.offset_px


def mirror(index: Any, size: Any) -> Any:
    """Reflects indices until they lie in 0..size - 1, the border's pixel once: 2 1 0 1 2, as often as need be."""
    last = size - 1
    period = ops.maximum(2 * last, 1)
    index = index % period
    return ops.minimum(index, 2 * last - index)
