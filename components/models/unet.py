"""U-Net with same padding (after Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597)."""

import keras
from keras import layers

from components.models.blocks import convolve
from pipeline_config import ModelConfig


def build(config: ModelConfig, num_classes: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Builds it: `depth` levels of two 3x3 convolutions and max pooling, and back up over skips.

    8,640,471 parameters at 32 filters, depth 4 and 23 classes.

    Args:
        config: uses filters, depth, dropout (at the two deepest levels), normalization, activation and
            kernel_initializer.
        num_classes: channels of the logits.
        input_shape: (H, W, 3); H and W multiples of 2**depth, or None.

    Returns:
        A model from float [B, H, W, 3] to float32 logits [B, H, W, num_classes].
    """
    inputs = keras.Input(input_shape)
    x, skips = inputs, []
    for level in range(config.depth):
        x = _block(x, config, config.filters * 2**level)
        x = layers.Dropout(config.dropout)(x) if level == config.depth - 1 else x
        skips.append(x)  # [B, H/2^level, W/2^level, filters * 2^level]
        x = layers.MaxPooling2D()(x)
    x = _block(x, config, config.filters * 2**config.depth)
    x = layers.Dropout(config.dropout)(x)  # [B, H/2^depth, W/2^depth, filters * 2^depth]
    for level in reversed(range(config.depth)):
        x = layers.Conv2DTranspose(config.filters * 2**level, 3, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, skips[level]])
        x = _block(x, config, config.filters * 2**level)  # [B, H/2^level, W/2^level, filters * 2^level]
    x = convolve(x, config, config.filters)
    logits = layers.Conv2D(num_classes, 1, dtype="float32", name="logits")(x)  # [B, H, W, num_classes]
    return keras.Model(inputs, logits, name="unet")


def _block(x: keras.KerasTensor, config: ModelConfig, filters: int) -> keras.KerasTensor:
    return convolve(convolve(x, config, filters), config, filters)
