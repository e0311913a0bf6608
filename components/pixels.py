"""A picture and its mask as one tensor of pixels, int32 [..., H, W]: red, green, blue and id, a byte each from the lowest on.

What moves pixels, or chooses among them, then does so once for both, and numbers of 32 bits are what a processor moves fastest.
"""

from collections.abc import Sequence

import tensorflow as tf

from components import features

VOID = int.from_bytes((0, 0, 0, features.IGNORE_LABEL), "little", signed=True)
"""Black, and void."""


def join(image: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Returns uint8 [..., H, W, 3] and uint8 [..., H, W] as pixels."""
    return tf.bitcast(tf.concat([image, label[..., tf.newaxis]], -1), tf.int32)


def split(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns pixels as uint8 [..., H, W, 3] and uint8 [..., H, W]."""
    values = tf.bitcast(pixels, tf.uint8)
    return values[..., :3], values[..., 3]


def planes(pixels: tf.Tensor) -> list[tf.Tensor]:
    """Returns red, green, blue and id, 0..255, as int32 of the pixels' shape each: by what XLA compiles well."""
    return [tf.bitwise.right_shift(pixels, 8 * place) & 255 for place in range(4)]


def from_planes(planes: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the pixels of four such planes."""
    return tf.add_n([tf.bitwise.left_shift(plane, 8 * place) for place, plane in enumerate(planes)])
