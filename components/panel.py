"""A picture of what a model does: pictures, their truth, and its prediction, side by side."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from components import features


def draw_panel(model: keras.Model, pairs: tuple[tf.Tensor, tf.Tensor], palette: Sequence[features.Color]) -> np.ndarray:
    """Draws a row an image: picture, truth, prediction.

    Args:
        model: from float32 [B, H, W, 3] in [0, 1] to logits [B, H, W, C].
        pairs: images, and labels int32 [B, H, W].
        palette: colour of each class.

    Returns:
        uint8 [B, H, 3 W, 3].
    """
    images, labels = pairs
    prediction = np.argmax(model(images, training=False), axis=-1)
    picture = np.round(np.asarray(images) * 255).astype(np.uint8)
    colors = np.array(features.voc_palette(), np.uint8)  # The last is void's.
    colors[: len(palette)] = palette
    return np.concatenate([picture, colors[np.asarray(labels)], colors[prediction]], axis=2)


def write_picture(panel: np.ndarray, path: str) -> None:
    """Writes a panel, uint8 [B, H, W, 3], as one PNG with its rows below each other."""
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(tf.io.encode_png(np.concatenate(list(panel))).numpy())
