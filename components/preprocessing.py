"""From an encoded picture to the network's input: the one way, for training, evaluation and serving."""

import tensorflow as tf

from components import orientation
from pipeline_config import TransformConfig


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG; a JPEG is turned upright as its EXIF orientation says, other formats are not.

    Args:
        encoded: string [], the file's bytes.

    Returns:
        uint8 [H, W, 3], RGB, 0..255, of the turned size; grey pictures are repeated on three channels, alpha is dropped.

    Raises:
        tf.errors.InvalidArgumentError: not such a picture, or truncated.
    """
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    return orientation.apply_orientation(image, orientation.read_orientation(encoded))


def resize_image(image: tf.Tensor, config: TransformConfig) -> tf.Tensor:
    """Resizes a picture by the configured method.

    Args:
        image: uint8 [H, W, 3].
        config: size and method.

    Returns:
        uint8 [height_px, width_px, 3], rounded and clipped to 0..255.
    """
    resized = tf.image.resize(image, (config.height_px, config.width_px), config.resize_method, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(tf.cast(resized, tf.float32)), 0.0, 255.0), tf.uint8)


def resize_label(label: tf.Tensor, config: TransformConfig) -> tf.Tensor:
    """Resizes a mask by nearest neighbour, so that no new id appears.

    Args:
        label: uint8 [H, W].
        config: size.

    Returns:
        uint8 [height_px, width_px].
    """
    return tf.image.resize(label[..., tf.newaxis], (config.height_px, config.width_px), "nearest")[..., 0]


def load_image(encoded: tf.Tensor, config: TransformConfig) -> tf.Tensor:
    """Returns an encoded picture, string [], as uint8 [height_px, width_px, 3]."""
    return resize_image(decode_image(encoded), config)


def load_label(encoded: tf.Tensor, config: TransformConfig) -> tf.Tensor:
    """Returns a one-channel PNG of ids, string [], as uint8 [height_px, width_px]."""
    return resize_label(tf.io.decode_png(encoded, channels=1)[..., 0], config)


def scale_image(image: tf.Tensor) -> tf.Tensor:
    """Returns uint8 0..255 of any shape as float32 in [0, 1], the range that the network takes."""
    return tf.cast(image, tf.float32) / 255.0
