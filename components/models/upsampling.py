"""Bilinear upsampling by whole factors, for pictures of any size, and kernels that begin as it."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops


class Upsample(layers.Layer):
    """As UpSampling2D with bilinear interpolation, which Keras 3.15 cannot trace where height and width are unknown.

    Between pixel centres, the border repeated, as in `tf.image.resize`. Each output pixel mixes an input pixel with the one
    before or behind it, in shares that depend only on its place within the input pixel.

    Args:
        factor: by which height and width grow.
        **kwargs: of Layer.
    """

    def __init__(self, factor: int, **kwargs: object) -> None:
        """Keeps the factor."""
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, from which Keras makes the layer again."""
        return {**super().get_config(), "factor": self.factor}

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Float [B, H, W, C] to [B, H * factor, W * factor, C]."""
        _, height, width, channels = ops.shape(inputs)
        if isinstance(height, int) and isinstance(width, int):
            # Three times as fast; in float32, for XLA has no gradient of a resize in float16.
            resized = ops.image.resize(ops.cast(inputs, "float32"), (height * self.factor, width * self.factor))
            return ops.cast(resized, inputs.dtype)
        x = ops.stack(self._phases(inputs, inputs[:, :1], inputs[:, -1:], axis=1), axis=2)  # [B, H, factor, W, C]
        x = ops.reshape(x, (-1, height * self.factor, width, channels))
        x = ops.stack(self._phases(x, x[:, :, :1], x[:, :, -1:], axis=2), axis=3)  # [B, H * factor, W, factor, C]
        return ops.reshape(x, (-1, height * self.factor, width * self.factor, channels))

    def _phases(
        self, x: keras.KerasTensor, first: keras.KerasTensor, last: keras.KerasTensor, axis: int
    ) -> list[keras.KerasTensor]:
        """Returns what stands at each of the `factor` places within the input pixels, along an axis."""
        head, tail = (x[:, :-1], x[:, 1:]) if axis == 1 else (x[:, :, :-1], x[:, :, 1:])
        before, after = ops.concatenate([first, head], axis=axis), ops.concatenate([tail, last], axis=axis)
        offsets = [(place + 0.5) / self.factor - 0.5 for place in range(self.factor)]  # From the input pixel's centre.
        return [x * (1 - abs(offset)) + (after if offset > 0 else before) * abs(offset) for offset in offsets]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H, W, C] to [B, H * factor, W * factor, C]; unknown sides stay unknown."""
        batch, height, width, channels = input_shape
        return batch, height and height * self.factor, width and width * self.factor, channels


def bilinear_kernel(shape: tuple[int, int, int, int], dtype: str | None = None) -> keras.KerasTensor:
    """Initialises a transposed convolution to bilinear upsampling, each channel by itself.

    Args:
        shape: (2 factor, 2 factor, channels, channels), where the factor is the convolution's stride.
        dtype: of the kernel.

    Returns:
        The kernel: in each direction a hat with its top between the two middle pixels, and a sum of 1 at each of the factor's
        places.
    """
    size = shape[0]
    distance = np.abs(np.arange(size) - (size - 1) / 2)
    hat = 1 - distance / (size / 2)
    return ops.convert_to_tensor(np.outer(hat, hat)[..., None, None] * np.eye(*shape[2:]), dtype)


def identity_kernel(shape: tuple[int, int, int, int], dtype: str | None = None) -> keras.KerasTensor:
    """Initialises a convolution with an odd size to one that changes nothing.

    Args:
        shape: (size, size, channels, channels).
        dtype: of the kernel.
    """
    kernel = np.zeros(shape)
    kernel[shape[0] // 2, shape[1] // 2] = np.eye(*shape[2:])
    return ops.convert_to_tensor(kernel, dtype)
